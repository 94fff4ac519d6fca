"""Learning rates for JAX: find, schedule, adapt and diagnose them."""

__version__ = "0.1.0"

# schedules
from .schedules._schedule import Schedule as Schedule
from .schedules._schedule import as_schedule as as_schedule
from .schedules._schedule import from_json as from_json
from .schedules.budget import flat_cosine_schedule as flat_cosine_schedule
from .schedules.budget import knee_schedule as knee_schedule
from .schedules.budget import rex_schedule as rex_schedule
from .schedules.chebyshev import chebyshev_schedule as chebyshev_schedule
from .schedules.constant import constant_schedule as constant_schedule
from .schedules.constant import warmup_constant_schedule as warmup_constant_schedule
from .schedules.cosine import cosine_decay_schedule as cosine_decay_schedule
from .schedules.cosine import warmup_cosine_decay_schedule as warmup_cosine_decay_schedule
from .schedules.cyclic import cyclic_annealing_schedule as cyclic_annealing_schedule
from .schedules.cyclic import triangular_schedule as triangular_schedule
from .schedules.exponential import exponential_decay as exponential_decay
from .schedules.exponential import step_decay_schedule as step_decay_schedule
from .schedules.exponential import warmup_exponential_decay_schedule as warmup_exponential_decay_schedule
from .schedules.infinite import infinite_schedule as infinite_schedule
from .schedules.inverse import inverse_sqrt_schedule as inverse_sqrt_schedule
from .schedules.inverse import inverse_time_schedule as inverse_time_schedule
from .schedules.inverse import noam_schedule as noam_schedule
from .schedules.join import join_schedules as join_schedules
from .schedules.knots import interpolated_schedule as interpolated_schedule
from .schedules.knots import piecewise_interpolate_schedule as piecewise_interpolate_schedule
from .schedules.onecycle import cosine_onecycle_schedule as cosine_onecycle_schedule
from .schedules.onecycle import linear_onecycle_schedule as linear_onecycle_schedule
from .schedules.onecycle_fastai import fastai_onecycle_momentum_schedule as fastai_onecycle_momentum_schedule
from .schedules.onecycle_fastai import fastai_onecycle_schedule as fastai_onecycle_schedule
from .schedules.onecycle_torch import torch_onecycle_momentum_schedule as torch_onecycle_momentum_schedule
from .schedules.onecycle_torch import torch_onecycle_schedule as torch_onecycle_schedule
from .schedules.piecewise import piecewise_constant_schedule as piecewise_constant_schedule
from .schedules.piecewise import piecewise_value_schedule as piecewise_value_schedule
from .schedules.polynomial import linear_schedule as linear_schedule
from .schedules.polynomial import polynomial_schedule as polynomial_schedule
from .schedules.polynomial import warmup_linear_schedule as warmup_linear_schedule
from .schedules.power_law import power_schedule as power_schedule
from .schedules.restarts import sgdr_schedule as sgdr_schedule
from .schedules.smooth import k_decay_schedule as k_decay_schedule
from .schedules.smooth import tanh_schedule as tanh_schedule
from .schedules.units import steps as steps
from .schedules.wsd import wsd_schedule as wsd_schedule

# isort: split

# the algebra of schedules
from .schedules.algebra import clip_schedule as clip_schedule
from .schedules.algebra import maximum as maximum
from .schedules.algebra import minimum as minimum
from .schedules.algebra import product as product
from .schedules.algebra import scale_schedule as scale_schedule
from .schedules.algebra import total as total
from .schedules.attach import with_cooldown as with_cooldown
from .schedules.attach import with_warmup as with_warmup
from .schedules.clock import repeat as repeat
from .schedules.clock import reverse as reverse
from .schedules.clock import shift as shift
from .schedules.clock import stretch as stretch
from .schedules.noise import noisy as noisy

# isort: split

# optimizers and their composition
from ._chain import chain as chain
from .optimizers.adagrad import adagrad as adagrad
from .optimizers.adagrad import scale_by_rss as scale_by_rss
from .optimizers.adam import adam as adam
from .optimizers.adam import adamw as adamw
from .optimizers.adam import scale_by_adam as scale_by_adam
from .optimizers.apply import apply_updates as apply_updates
from .optimizers.clipping import clip_by_global_norm as clip_by_global_norm
from .optimizers.learning_rate import scale_by_learning_rate as scale_by_learning_rate
from .optimizers.momentum import trace as trace
from .optimizers.rmsprop import rmsprop as rmsprop
from .optimizers.rmsprop import scale_by_rms as scale_by_rms
from .optimizers.rmsprop import scale_by_stddev as scale_by_stddev
from .optimizers.sgd import sgd as sgd
from .optimizers.weight_decay import add_decayed_weights as add_decayed_weights

# isort: split

# the state of an optimizer: read it, edit it, resume from it
from ._resume import resume as resume
from .state import count as count
from .state import hyperparams as hyperparams
from .state import learning_rate as learning_rate
from .state import learning_rates as learning_rates
from .state import with_hyperparams as with_hyperparams

# isort: split

# choosing a rate, and what a record says
from . import problems as problems
from .diagnosis import diagnose as diagnose
from .problems import Problem as Problem
from .tuning._range_test import find as find
from .tuning._range_test import range_test as range_test
from .tuning._suggest import logspace as logspace
from .tuning._suggest import suggest as suggest
from .tuning._sweep import sweep as sweep
from .tuning._tune import tune as tune

# isort: split

# pictures
from .plot import plot as plot
