"""Learning rates for JAX: find, schedule, adapt and diagnose them."""

__version__ = "0.1.0"

# optimizers and their composition
# choosing
from . import problems as problems
from ._chain import chain as chain

# state
from ._resume import resume as resume
from .diagnosis import diagnose as diagnose
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
from .plot import plot as plot
from .problems import Problem as Problem

# schedules
from .schedules._schedule import Schedule as Schedule
from .schedules._schedule import as_schedule as as_schedule
from .schedules._schedule import from_json as from_json
from .schedules.constant import constant_schedule as constant_schedule
from .schedules.cosine import cosine_decay_schedule as cosine_decay_schedule
from .schedules.cosine import warmup_cosine_decay_schedule as warmup_cosine_decay_schedule
from .schedules.cyclic import cyclic_annealing_schedule as cyclic_annealing_schedule
from .schedules.cyclic import triangular_schedule as triangular_schedule
from .schedules.exponential import exponential_decay as exponential_decay
from .schedules.exponential import step_decay_schedule as step_decay_schedule
from .schedules.piecewise import piecewise_constant_schedule as piecewise_constant_schedule
from .schedules.piecewise import piecewise_value_schedule as piecewise_value_schedule
from .schedules.polynomial import linear_schedule as linear_schedule
from .schedules.polynomial import polynomial_schedule as polynomial_schedule
from .schedules.polynomial import warmup_linear_schedule as warmup_linear_schedule
from .schedules.units import steps as steps
from .state import count as count
from .state import hyperparams as hyperparams
from .state import learning_rate as learning_rate
from .state import learning_rates as learning_rates
from .state import with_hyperparams as with_hyperparams
from .tuning._range_test import find as find
from .tuning._range_test import range_test as range_test
from .tuning._suggest import logspace as logspace
from .tuning._suggest import suggest as suggest
from .tuning._sweep import sweep as sweep
from .tuning._tune import tune as tune
