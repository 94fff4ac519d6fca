"""optax's own, under its name: what has no number that one tunes, and so no part of lrx in it.

All of it takes lrx's transformations and states as it takes optax's. `lrx`, `lrx.transforms` and `lrx.contrib` take it
from here. What only newer versions of optax have stands at the end; `lrx.microbatch` then says which version it needs.
"""

from contextlib import suppress as _suppress

# isort: split

# types
from optax import EmptyState as EmptyState
from optax import GradientTransformation as GradientTransformation
from optax import GradientTransformationExtraArgs as GradientTransformationExtraArgs
from optax import LookaheadParams as LookaheadParams
from optax import MaskedNode as MaskedNode
from optax import MaskOrFn as MaskOrFn
from optax import OptState as OptState
from optax import Params as Params
from optax import ScalarOrSchedule as ScalarOrSchedule
from optax import ShouldSkipUpdateFunction as ShouldSkipUpdateFunction
from optax import TransformInitFn as TransformInitFn
from optax import TransformUpdateExtraArgsFn as TransformUpdateExtraArgsFn
from optax import TransformUpdateFn as TransformUpdateFn
from optax import Updates as Updates
from optax.schedules import StatefulSchedule as StatefulSchedule
from optax.schedules import WrappedSchedule as WrappedSchedule
from optax.transforms import ConditionFn as ConditionFn

# isort: split

# utilities
from optax import bias_correction as bias_correction
from optax import incremental_update as incremental_update
from optax import periodic_update as periodic_update
from optax import safe_increment as safe_increment
from optax import safe_norm as safe_norm
from optax import safe_root_mean_squares as safe_root_mean_squares
from optax import scale_gradient as scale_gradient
from optax import update_infinity_moment as update_infinity_moment
from optax import update_moment as update_moment
from optax import update_moment_per_elem_norm as update_moment_per_elem_norm
from optax.transforms import unitwise_clip as unitwise_clip
from optax.transforms import unitwise_norm as unitwise_norm

# isort: split

# transformations, and what makes one of another
from optax import MultiSteps as MultiSteps
from optax import apply_every as apply_every
from optax import conditionally_mask as conditionally_mask
from optax import conditionally_transform as conditionally_transform
from optax import flatten as flatten
from optax import identity as identity
from optax import inject_hyperparams as inject_hyperparams
from optax import inject_stateful_hyperparams as inject_stateful_hyperparams
from optax import keep_params_nonnegative as keep_params_nonnegative
from optax import per_example_global_norm_clip as per_example_global_norm_clip
from optax import per_example_layer_norm_clip as per_example_layer_norm_clip
from optax import set_to_zero as set_to_zero
from optax import skip_large_updates as skip_large_updates
from optax import skip_not_finite as skip_not_finite
from optax import stateless as stateless
from optax import stateless_with_tree_map as stateless_with_tree_map
from optax import with_extra_args_support as with_extra_args_support
from optax.contrib import split_real_and_imaginary as split_real_and_imaginary
from optax.transforms import selective_transform as selective_transform

# isort: split

# their states, and the names of empty ones
from optax import AdaptiveGradClipState as AdaptiveGradClipState
from optax import AddDecayedWeightsState as AddDecayedWeightsState
from optax import ApplyEvery as ApplyEvery
from optax import ClipByGlobalNormState as ClipByGlobalNormState
from optax import ClipState as ClipState
from optax import ConditionallyMaskState as ConditionallyMaskState
from optax import ConditionallyTransformState as ConditionallyTransformState
from optax import InjectHyperparamsState as InjectHyperparamsState
from optax import InjectStatefulHyperparamsState as InjectStatefulHyperparamsState
from optax import MultiStepsState as MultiStepsState
from optax import NonNegativeParamsState as NonNegativeParamsState
from optax import ScaleByTrustRatioState as ScaleByTrustRatioState
from optax import ScaleState as ScaleState
from optax.contrib import SplitRealAndImaginaryState as SplitRealAndImaginaryState

# isort: split

# the states of rules that lrx does not have
from optax import ZoomLinesearchInfo as ZoomLinesearchInfo
from optax.contrib import NormalizeState as NormalizeState

# isort: split

with _suppress(ImportError):  # optax 0.2.6
    from optax import SnapshotState as SnapshotState
    from optax import init_empty_state as init_empty_state
    from optax import snapshot as snapshot

with _suppress(ImportError):  # optax 0.2.7
    from optax import MonitorState as MonitorState
    from optax import measure_with_ema as measure_with_ema
    from optax import microbatch as microbatch
