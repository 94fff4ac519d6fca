"""lrx's own, under the names that optax gives them: the types of states, and some functions.

In a state of lrx's, `isinstance(x, lrx.ScaleByAdamState)` finds Adam's memory: the moments and the count, whose numbers
stand beside it. The state of a rule that lrx does not have, or that remembers nothing, is optax's.
"""

from optax import safe_increment

from ._arithmetic import global_norm
from ._map_params import tree_map_params
from .controllers import _metric, distance
from .optimizers import _dadapt, adadelta, cocob, mechanize, partition, rmsprop, sm3
from .optimizers._dimension_numbers import GaLoreDimensionNumbers, MuonDimensionNumbers
from .optimizers.adabelief import ScaleByBeliefState
from .optimizers.adafactor import FactoredState
from .optimizers.adagrad import ScaleByRssState
from .optimizers.adam import ScaleByAdamState
from .optimizers.adan import ScaleByAdanState
from .optimizers.ademamix import ScaleByAdemamixState
from .optimizers.amsgrad import ScaleByAmsgradState
from .optimizers.apply_if_finite import ApplyIfFiniteState
from .optimizers.ema import EmaState
from .optimizers.galore import GaLoreState
from .optimizers.lbfgs import ScaleByLBFGSState
from .optimizers.learning_rate import ScaleByScheduleState
from .optimizers.line_searches import ScaleByBacktrackingLinesearchState, ScaleByZoomLinesearchState
from .optimizers.lion import ScaleByLionState
from .optimizers.lookahead import LookaheadState
from .optimizers.madgrad import MadgradState
from .optimizers.masking import MaskedState
from .optimizers.momentum import TraceState
from .optimizers.momo import MomoAdamState, MomoState
from .optimizers.muon import MuonState
from .optimizers.noise import AddNoiseState
from .optimizers.novograd import ScaleByNovogradState
from .optimizers.partition import PartitionState
from .optimizers.privacy import DifferentiallyPrivateAggregateState
from .optimizers.prodigy import ProdigyState
from .optimizers.rmsprop import ScaleByRmsState
from .optimizers.rprop import ScaleByRpropState
from .optimizers.sam import SAMState
from .optimizers.schedule_free import ScheduleFreeState
from .optimizers.schedule_free_eval import schedule_free_eval_params
from .optimizers.simplified_ademamix import ScaleBySimplifiedAdEMAMixState
from .optimizers.sophia import HutchinsonState, SophiaState
from .optimizers.zero_nans import ZeroNansState

__all__ = (
    "AddNoiseState",
    "ApplyIfFiniteState",
    "COCOBState",
    "DAdaptAdamWState",
    "DifferentiallyPrivateAggregateState",
    "DoGState",
    "DoWGState",
    "EmaState",
    "FactoredState",
    "GaLoreDimensionNumbers",
    "GaLoreState",
    "HutchinsonState",
    "LookaheadState",
    "MadgradState",
    "MaskedState",
    "MechanicState",
    "MomoAdamState",
    "MomoState",
    "MultiTransformState",
    "MuonDimensionNumbers",
    "MuonState",
    "PartitionState",
    "ProdigyState",
    "ReduceLROnPlateauState",
    "SAMState",
    "ScaleByAdaDeltaState",
    "ScaleByAdamState",
    "ScaleByAdanState",
    "ScaleByAdemamixState",
    "ScaleByAmsgradState",
    "ScaleByBacktrackingLinesearchState",
    "ScaleByBeliefState",
    "ScaleByLBFGSState",
    "ScaleByLionState",
    "ScaleByNovogradState",
    "ScaleByRStdDevState",
    "ScaleByRmsState",
    "ScaleByRpropState",
    "ScaleByRssState",
    "ScaleBySM3State",
    "ScaleByScheduleState",
    "ScaleBySimplifiedAdEMAMixState",
    "ScaleByZoomLinesearchState",
    "ScheduleFreeState",
    "SophiaState",
    "TraceState",
    "ZeroNansState",
    "global_norm",
    "multi_transform",
    "safe_int32_increment",
    "schedule_free_eval_params",
    "tree_map_params",
)

multi_transform = partition.partition
safe_int32_increment = safe_increment  # to optax 0.2.8 the old name is a warning

COCOBState = cocob.ScaleByCocobState
DAdaptAdamWState = _dadapt.DadaptState
DoGState = distance.DistanceMemory
DoWGState = distance.DistanceMemory
MechanicState = mechanize.MechanizeState
MultiTransformState = PartitionState
ReduceLROnPlateauState = _metric.Watch
ScaleByAdaDeltaState = adadelta.ScaleByAdadeltaState
ScaleByRStdDevState = rmsprop.ScaleByStddevState
ScaleBySM3State = sm3.ScaleBySm3State
