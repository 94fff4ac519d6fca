"""What a training loop does without: read when one of its names, or `dir(lrx)`, is first asked for.

`import lrx` is in every process of a user's, also where no rate is chosen: it reads schedules and optimizers alone.
"""

# choosing a rate
from . import problems as problems
from .problems import Problem as Problem
from .tuning._find import find as find
from .tuning._found import Found as Found
from .tuning._halving import Halving as Halving
from .tuning._halving import halving as halving
from .tuning._halving_plan import Rung as Rung
from .tuning._halving_plan import halving_plan as halving_plan
from .tuning._range_test import RangeTest as RangeTest
from .tuning._range_test import range_test as range_test
from .tuning._search import Search as Search
from .tuning._search import Trial as Trial
from .tuning._suggest import logspace as logspace
from .tuning._suggest import suggest as suggest
from .tuning._sweep import Best as Best
from .tuning._sweep import Sweep as Sweep
from .tuning._sweep import sweep as sweep
from .tuning._tune import tune as tune
from .tuning._tuned import Tuned as Tuned

# isort: split

# what a run shows: logs, verdicts, meters
from .diagnosis import Diagnosis as Diagnosis
from .diagnosis import Probe as Probe
from .diagnosis import Sharpness as Sharpness
from .diagnosis import diagnose as diagnose
from .diagnosis import monitor as monitor
from .diagnosis import monitored as monitored
from .diagnosis import probe as probe
from .diagnosis import sharpness as sharpness
from .logs import Log as Log
from .logs import read_log as read_log
from .tuning._recorder import Recorder as Recorder

# isort: split

# from evidence and across scale
from . import laws as laws
from .evidence.loss_law import LossLaw as LossLaw
from .evidence.loss_law import fit_loss_law as fit_loss_law
from .evidence.refined_schedule import refined_schedule as refined_schedule
from .scaling import DepthScale as DepthScale
from .scaling import output_multiplier as output_multiplier
from .scaling import rescale_init as rescale_init
from .scaling import scale_for_depth as scale_for_depth
from .scaling import scale_for_width as scale_for_width
from .tuning._noise_scale import gradient_noise_scale as gradient_noise_scale
from .tuning._transfer import Transferred as Transferred
from .tuning._transfer import transfer_batch_size as transfer_batch_size
from .tuning._transfer import transfer_horizon as transfer_horizon
from .tuning._transfer import transfer_schedule as transfer_schedule
from .tuning._tune_schedule import TunedSchedule as TunedSchedule
from .tuning._tune_schedule import tune_schedule as tune_schedule

# isort: split

# charts
from . import charts as charts
from . import convert as convert
from .charts import plot as plot
