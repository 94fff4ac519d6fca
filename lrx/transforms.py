"""The names of `optax.transforms`: lrx's own where there is a number to tune, else optax's."""

from contextlib import suppress as _suppress

from ._chain import chain as chain
from ._chain import named_chain as named_chain
from ._elsewhere import answer_in as _answer_in
from ._from_optax import ConditionallyMaskState as ConditionallyMaskState
from ._from_optax import ConditionallyTransformState as ConditionallyTransformState
from ._from_optax import ConditionFn as ConditionFn
from ._from_optax import MaskedNode as MaskedNode
from ._from_optax import MultiSteps as MultiSteps
from ._from_optax import MultiStepsState as MultiStepsState
from ._from_optax import NonNegativeParamsState as NonNegativeParamsState
from ._from_optax import ShouldSkipUpdateFunction as ShouldSkipUpdateFunction
from ._from_optax import conditionally_mask as conditionally_mask
from ._from_optax import conditionally_transform as conditionally_transform
from ._from_optax import flatten as flatten
from ._from_optax import keep_params_nonnegative as keep_params_nonnegative
from ._from_optax import per_example_global_norm_clip as per_example_global_norm_clip
from ._from_optax import per_example_layer_norm_clip as per_example_layer_norm_clip
from ._from_optax import selective_transform as selective_transform
from ._from_optax import skip_large_updates as skip_large_updates
from ._from_optax import skip_not_finite as skip_not_finite
from ._from_optax import unitwise_clip as unitwise_clip
from ._from_optax import unitwise_norm as unitwise_norm
from ._optax_names import AddNoiseState as AddNoiseState
from ._optax_names import ApplyIfFiniteState as ApplyIfFiniteState
from ._optax_names import EmaState as EmaState
from ._optax_names import MaskedState as MaskedState
from ._optax_names import PartitionState as PartitionState
from ._optax_names import TraceState as TraceState
from ._optax_names import ZeroNansState as ZeroNansState
from .diagnosis._monitor import monitor as monitor
from .optimizers.apply_if_finite import apply_if_finite as apply_if_finite
from .optimizers.clip_by_block import clip_by_block_rms as clip_by_block_rms
from .optimizers.clipping import adaptive_grad_clip as adaptive_grad_clip
from .optimizers.clipping import clip as clip
from .optimizers.clipping import clip_by_global_norm as clip_by_global_norm
from .optimizers.ema import ema as ema
from .optimizers.masking import freeze as freeze
from .optimizers.masking import masked as masked
from .optimizers.momentum import trace as trace
from .optimizers.noise import add_noise as add_noise
from .optimizers.partition import partition as partition
from .optimizers.weight_decay import add_decayed_weights as add_decayed_weights
from .optimizers.zero_nans import zero_nans as zero_nans

with _suppress(ImportError):  # optax 0.2.6
    from ._from_optax import SnapshotState as SnapshotState
    from ._from_optax import snapshot as snapshot

with _suppress(ImportError):  # optax 0.2.7
    from ._from_optax import MonitorState as MonitorState
    from ._from_optax import measure_with_ema as measure_with_ema

_answer_in(__name__)
