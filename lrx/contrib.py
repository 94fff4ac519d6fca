"""The names of `optax.contrib`: lrx's own where there is a number to tune, else optax's.

`dog` and `dowg` are optimizers here, as in optax; `lrx.dog` and `lrx.dowg` are learning rates for any optimizer.
"""

from contextlib import suppress as _suppress

from ._elsewhere import answer_in as _answer_in
from ._from_optax import DifferentiallyPrivateAggregateState as DifferentiallyPrivateAggregateState
from ._from_optax import HutchinsonState as HutchinsonState
from ._from_optax import MuonState as MuonState
from ._from_optax import NormalizeState as NormalizeState
from ._from_optax import SAMState as SAMState
from ._from_optax import ScaleBySimplifiedAdEMAMixState as ScaleBySimplifiedAdEMAMixState
from ._from_optax import SophiaState as SophiaState
from ._from_optax import SplitRealAndImaginaryState as SplitRealAndImaginaryState
from ._from_optax import split_real_and_imaginary as split_real_and_imaginary
from ._optax_names import COCOBState as COCOBState
from ._optax_names import DAdaptAdamWState as DAdaptAdamWState
from ._optax_names import DoGState as DoGState
from ._optax_names import DoWGState as DoWGState
from ._optax_names import MechanicState as MechanicState
from ._optax_names import MomoAdamState as MomoAdamState
from ._optax_names import MomoState as MomoState
from ._optax_names import ProdigyState as ProdigyState
from ._optax_names import ReduceLROnPlateauState as ReduceLROnPlateauState
from ._optax_names import ScaleByAdemamixState as ScaleByAdemamixState
from ._optax_names import ScheduleFreeState as ScheduleFreeState
from ._optax_names import schedule_free_eval_params as schedule_free_eval_params
from .controllers.reduce_on_plateau import reduce_on_plateau as reduce_on_plateau
from .optimizers.ademamix import ademamix as ademamix
from .optimizers.ademamix import scale_by_ademamix as scale_by_ademamix
from .optimizers.adopt import adopt as adopt
from .optimizers.adopt import scale_by_adopt as scale_by_adopt
from .optimizers.cocob import cocob as cocob
from .optimizers.cocob import scale_by_cocob as scale_by_cocob
from .optimizers.dadapt_adamw import dadapt_adamw as dadapt_adamw
from .optimizers.dog import dog as dog
from .optimizers.dog import dowg as dowg
from .optimizers.mechanize import mechanize as mechanize
from .optimizers.momo import momo as momo
from .optimizers.momo import momo_adam as momo_adam
from .optimizers.prodigy import prodigy as prodigy
from .optimizers.schedule_free import schedule_free as schedule_free
from .optimizers.schedule_free_sgd_adamw import schedule_free_adamw as schedule_free_adamw
from .optimizers.schedule_free_sgd_adamw import schedule_free_sgd as schedule_free_sgd

with _suppress(ImportError):  # optax 0.2.6
    from ._from_optax import MuonDimensionNumbers as MuonDimensionNumbers

with _suppress(ImportError):  # optax 0.2.7
    from ._from_optax import GaLoreDimensionNumbers as GaLoreDimensionNumbers
    from ._from_optax import GaLoreState as GaLoreState
    from ._from_optax import MadgradState as MadgradState

_answer_in(__name__)
