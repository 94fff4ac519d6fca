"""Schedules: learning rates as pure functions of the number of updates completed, one family a file.

Those that optax has keep its names, arguments and values. Where they differ, on purpose:

* The result is always a float32 array in the shape of the count; a count may be an array. A negative count is 0, and
  one beyond int32 is 2³¹ − 1.
* Bad input is an error, where optax writes a log line and returns a constant: lengths that are negative; 0 for
  `decay_steps`, for one cycle, and for the `transition_steps` of an exponential; a decay rate of 0; a share outside
  [0, 1]; anything that is not finite.
* A number of steps that is a float, such as `0.05 * total_steps`, is rounded when the schedule is made: a length to the
  nearest whole number, which moves the curve by less than half a step; a boundary at which the value may jump to the
  first count that is not before it, which moves nothing. A share of the run (`warmup_steps=0.05`) is an error.
* The end is exact: `warmup_cosine_decay_schedule` ends at `end_value` when the peak is 0, too.
* `join_schedules` with a boundary too few is an error, where optax drops the last schedule. A part that is not current
  is evaluated at its own count 0, so that it cannot make a gradient NaN.
* One cycle keeps its turns apart, where optax keys a dict by step: in one to three steps it is finite, takes its peak
  and ends at its last value. A share of at most six decimals is exact: 0.29 of 100 steps are 29, where optax truncates
  the float64 product to 28.

As in optax, `linear_schedule`, `polynomial_schedule` and `warmup_constant_schedule` of 0 steps hold the initial value;
a power or an exponent of 0 is the constant that 0⁰ = 1 makes of the formula; surplus boundaries at the end are left
out. In lrx's own functions a phase of no steps is skipped, and its end value holds.
"""

from .._elsewhere import answer_in as _answer_in
from .._from_optax import InjectHyperparamsState as InjectHyperparamsState
from .._from_optax import InjectStatefulHyperparamsState as InjectStatefulHyperparamsState
from .._from_optax import StatefulSchedule as StatefulSchedule
from .._from_optax import WrappedSchedule as WrappedSchedule
from .._from_optax import inject_hyperparams as inject_hyperparams
from .._from_optax import inject_stateful_hyperparams as inject_stateful_hyperparams
from ._schedule import Schedule as Schedule
from ._schedule import as_schedule as as_schedule
from ._text import from_json as from_json
from .algebra import clip_schedule as clip_schedule
from .algebra import maximum as maximum
from .algebra import minimum as minimum
from .algebra import product as product
from .algebra import quotient as quotient
from .algebra import scale_schedule as scale_schedule
from .algebra import total as total
from .chebyshev import chebyshev_schedule as chebyshev_schedule
from .clock import every as every
from .clock import repeat as repeat
from .clock import reverse as reverse
from .clock import shift as shift
from .clock import stretch as stretch
from .constant import constant_schedule as constant_schedule
from .constant import warmup_constant_schedule as warmup_constant_schedule
from .cosine import cosine_decay_schedule as cosine_decay_schedule
from .cosine import warmup_cosine_decay_schedule as warmup_cosine_decay_schedule
from .cyclic import cyclic_annealing_schedule as cyclic_annealing_schedule
from .cyclic import triangular_schedule as triangular_schedule
from .exponential import exponential_decay as exponential_decay
from .exponential import step_decay_schedule as step_decay_schedule
from .exponential import warmup_exponential_decay_schedule as warmup_exponential_decay_schedule
from .flat_cosine import flat_cosine_schedule as flat_cosine_schedule
from .infinite import infinite_schedule as infinite_schedule
from .inverse import inverse_sqrt_schedule as inverse_sqrt_schedule
from .inverse import inverse_time_schedule as inverse_time_schedule
from .inverse import noam_schedule as noam_schedule
from .join import join_schedules as join_schedules
from .k_decay import k_decay_schedule as k_decay_schedule
from .knee import knee_schedule as knee_schedule
from .knots import interpolated_schedule as interpolated_schedule
from .knots import piecewise_interpolate_schedule as piecewise_interpolate_schedule
from .noise import noisy as noisy
from .onecycle import cosine_onecycle_schedule as cosine_onecycle_schedule
from .onecycle import linear_onecycle_schedule as linear_onecycle_schedule
from .onecycle_fastai import fastai_onecycle_momentum_schedule as fastai_onecycle_momentum_schedule
from .onecycle_fastai import fastai_onecycle_schedule as fastai_onecycle_schedule
from .onecycle_torch import torch_onecycle_momentum_schedule as torch_onecycle_momentum_schedule
from .onecycle_torch import torch_onecycle_schedule as torch_onecycle_schedule
from .piecewise import piecewise_constant_schedule as piecewise_constant_schedule
from .piecewise import piecewise_value_schedule as piecewise_value_schedule
from .polynomial import linear_schedule as linear_schedule
from .polynomial import polynomial_schedule as polynomial_schedule
from .polynomial import warmup_linear_schedule as warmup_linear_schedule
from .polynomial_cycles import polynomial_cycles_schedule as polynomial_cycles_schedule
from .power_law import power_schedule as power_schedule
from .restarts import sgdr_schedule as sgdr_schedule
from .rex import rex_schedule as rex_schedule
from .start_at import start_at as start_at
from .tanh import tanh_schedule as tanh_schedule
from .units import share as share
from .units import steps as steps
from .warmup_cooldown import with_cooldown as with_cooldown
from .warmup_cooldown import with_warmup as with_warmup
from .wsd import wsd_schedule as wsd_schedule

_answer_in(__name__)
