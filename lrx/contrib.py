"""The names of `optax.contrib`: lrx's own where there is a number to tune, else optax's.

`dog` and `dowg` are optimizers here, as in optax; `lrx.dog` and `lrx.dowg` are learning rates for any optimizer.
"""

from ._elsewhere import answer_in as _answer_in
from ._from_optax import NormalizeState as NormalizeState
from ._from_optax import SplitRealAndImaginaryState as SplitRealAndImaginaryState
from ._from_optax import split_real_and_imaginary as split_real_and_imaginary
from ._optax_names import COCOBState as COCOBState
from ._optax_names import DAdaptAdamWState as DAdaptAdamWState
from ._optax_names import DifferentiallyPrivateAggregateState as DifferentiallyPrivateAggregateState
from ._optax_names import DoGState as DoGState
from ._optax_names import DoWGState as DoWGState
from ._optax_names import GaLoreDimensionNumbers as GaLoreDimensionNumbers
from ._optax_names import GaLoreState as GaLoreState
from ._optax_names import HutchinsonState as HutchinsonState
from ._optax_names import MadgradState as MadgradState
from ._optax_names import MechanicState as MechanicState
from ._optax_names import MomoAdamState as MomoAdamState
from ._optax_names import MomoState as MomoState
from ._optax_names import MuonDimensionNumbers as MuonDimensionNumbers
from ._optax_names import MuonState as MuonState
from ._optax_names import ProdigyState as ProdigyState
from ._optax_names import ReduceLROnPlateauState as ReduceLROnPlateauState
from ._optax_names import SAMState as SAMState
from ._optax_names import ScaleByAdemamixState as ScaleByAdemamixState
from ._optax_names import ScaleBySimplifiedAdEMAMixState as ScaleBySimplifiedAdEMAMixState
from ._optax_names import ScheduleFreeState as ScheduleFreeState
from ._optax_names import SophiaState as SophiaState
from ._optax_names import schedule_free_eval_params as schedule_free_eval_params
from .controllers.reduce_on_plateau import reduce_on_plateau as reduce_on_plateau
from .optimizers.acprop import acprop as acprop
from .optimizers.acprop import scale_by_acprop as scale_by_acprop
from .optimizers.ademamix import ademamix as ademamix
from .optimizers.ademamix import scale_by_ademamix as scale_by_ademamix
from .optimizers.adopt import adopt as adopt
from .optimizers.adopt import scale_by_adopt as scale_by_adopt
from .optimizers.cocob import cocob as cocob
from .optimizers.cocob import scale_by_cocob as scale_by_cocob
from .optimizers.dadapt_adamw import dadapt_adamw as dadapt_adamw
from .optimizers.dog import dog as dog
from .optimizers.dog import dowg as dowg
from .optimizers.galore import galore as galore
from .optimizers.galore import scale_by_galore as scale_by_galore
from .optimizers.madgrad import madgrad as madgrad
from .optimizers.madgrad import scale_by_madgrad as scale_by_madgrad
from .optimizers.mechanize import mechanize as mechanize
from .optimizers.momo import momo as momo
from .optimizers.momo import momo_adam as momo_adam
from .optimizers.muon import muon as muon
from .optimizers.muon import scale_by_muon as scale_by_muon
from .optimizers.normalize import normalize as normalize
from .optimizers.privacy import differentially_private_aggregate as differentially_private_aggregate
from .optimizers.privacy import dpsgd as dpsgd
from .optimizers.prodigy import prodigy as prodigy
from .optimizers.sam import sam as sam
from .optimizers.schedule_free import schedule_free as schedule_free
from .optimizers.schedule_free_sgd_adamw import schedule_free_adamw as schedule_free_adamw
from .optimizers.schedule_free_sgd_adamw import schedule_free_sgd as schedule_free_sgd
from .optimizers.simplified_ademamix import scale_by_simplified_ademamix as scale_by_simplified_ademamix
from .optimizers.simplified_ademamix import simplified_ademamix as simplified_ademamix
from .optimizers.sophia import hutchinson_estimator_diag_hessian as hutchinson_estimator_diag_hessian
from .optimizers.sophia import sophia as sophia

_answer_in(__name__)
