"""Learning rates for JAX: find, schedule, adapt and diagnose them."""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from ._version import __version__ as __version__

# isort: split

# what is optax's own, and what has another name there
from ._from_optax import *  # noqa: F403  # all of it, under its name
from ._optax_names import *  # noqa: F403

# isort: split

# schedules
from .schedules import Schedule as Schedule
from .schedules import as_schedule as as_schedule
from .schedules import chebyshev_schedule as chebyshev_schedule
from .schedules import constant_schedule as constant_schedule
from .schedules import cosine_decay_schedule as cosine_decay_schedule
from .schedules import cosine_onecycle_schedule as cosine_onecycle_schedule
from .schedules import cyclic_annealing_schedule as cyclic_annealing_schedule
from .schedules import exponential_decay as exponential_decay
from .schedules import fastai_onecycle_momentum_schedule as fastai_onecycle_momentum_schedule
from .schedules import fastai_onecycle_schedule as fastai_onecycle_schedule
from .schedules import flat_cosine_schedule as flat_cosine_schedule
from .schedules import from_json as from_json
from .schedules import infinite_schedule as infinite_schedule
from .schedules import interpolated_schedule as interpolated_schedule
from .schedules import inverse_sqrt_schedule as inverse_sqrt_schedule
from .schedules import inverse_time_schedule as inverse_time_schedule
from .schedules import join_schedules as join_schedules
from .schedules import k_decay_schedule as k_decay_schedule
from .schedules import knee_schedule as knee_schedule
from .schedules import linear_onecycle_schedule as linear_onecycle_schedule
from .schedules import linear_schedule as linear_schedule
from .schedules import noam_schedule as noam_schedule
from .schedules import piecewise_constant_schedule as piecewise_constant_schedule
from .schedules import piecewise_interpolate_schedule as piecewise_interpolate_schedule
from .schedules import piecewise_value_schedule as piecewise_value_schedule
from .schedules import polynomial_cycles_schedule as polynomial_cycles_schedule
from .schedules import polynomial_schedule as polynomial_schedule
from .schedules import power_schedule as power_schedule
from .schedules import rex_schedule as rex_schedule
from .schedules import sgdr_schedule as sgdr_schedule
from .schedules import share as share
from .schedules import step_decay_schedule as step_decay_schedule
from .schedules import steps as steps
from .schedules import tanh_schedule as tanh_schedule
from .schedules import torch_onecycle_momentum_schedule as torch_onecycle_momentum_schedule
from .schedules import torch_onecycle_schedule as torch_onecycle_schedule
from .schedules import triangular_schedule as triangular_schedule
from .schedules import warmup_constant_schedule as warmup_constant_schedule
from .schedules import warmup_cosine_decay_schedule as warmup_cosine_decay_schedule
from .schedules import warmup_exponential_decay_schedule as warmup_exponential_decay_schedule
from .schedules import warmup_linear_schedule as warmup_linear_schedule
from .schedules import wsd_schedule as wsd_schedule

# isort: split

# the algebra of schedules
from .schedules import clip_schedule as clip_schedule
from .schedules import every as every
from .schedules import maximum as maximum
from .schedules import minimum as minimum
from .schedules import noisy as noisy
from .schedules import product as product
from .schedules import quotient as quotient
from .schedules import repeat as repeat
from .schedules import reverse as reverse
from .schedules import scale_schedule as scale_schedule
from .schedules import shift as shift
from .schedules import start_at as start_at
from .schedules import stretch as stretch
from .schedules import total as total
from .schedules import with_cooldown as with_cooldown
from .schedules import with_warmup as with_warmup

# isort: split

# optimizers
from ._numbers import Hyperparameter as Hyperparameter
from .optimizers._dimension_numbers import GaLoreDimensionNumbers as GaLoreDimensionNumbers
from .optimizers._dimension_numbers import MuonDimensionNumbers as MuonDimensionNumbers
from .optimizers.acprop import acprop as acprop
from .optimizers.acprop import scale_by_acprop as scale_by_acprop
from .optimizers.adabelief import adabelief as adabelief
from .optimizers.adabelief import scale_by_belief as scale_by_belief
from .optimizers.adadelta import adadelta as adadelta
from .optimizers.adadelta import scale_by_adadelta as scale_by_adadelta
from .optimizers.adafactor import adafactor as adafactor
from .optimizers.adafactor import scale_by_factored_rms as scale_by_factored_rms
from .optimizers.adagrad import adagrad as adagrad
from .optimizers.adagrad import scale_by_rss as scale_by_rss
from .optimizers.adam import adam as adam
from .optimizers.adam import adamw as adamw
from .optimizers.adam import scale_by_adam as scale_by_adam
from .optimizers.adam_mini import adam_mini as adam_mini
from .optimizers.adam_mini import scale_by_adam_mini as scale_by_adam_mini
from .optimizers.adamax import adamax as adamax
from .optimizers.adamax import adamaxw as adamaxw
from .optimizers.adamax import scale_by_adamax as scale_by_adamax
from .optimizers.adan import adan as adan
from .optimizers.adan import scale_by_adan as scale_by_adan
from .optimizers.ademamix import ademamix as ademamix
from .optimizers.ademamix import scale_by_ademamix as scale_by_ademamix
from .optimizers.adopt import adopt as adopt
from .optimizers.adopt import scale_by_adopt as scale_by_adopt
from .optimizers.amsgrad import amsgrad as amsgrad
from .optimizers.amsgrad import scale_by_amsgrad as scale_by_amsgrad
from .optimizers.ema import ema as ema
from .optimizers.fromage import fromage as fromage
from .optimizers.lamb import lamb as lamb
from .optimizers.lars import lars as lars
from .optimizers.lbfgs import lbfgs as lbfgs
from .optimizers.lbfgs import scale_by_lbfgs as scale_by_lbfgs
from .optimizers.line_searches import scale_by_backtracking_linesearch as scale_by_backtracking_linesearch
from .optimizers.line_searches import scale_by_zoom_linesearch as scale_by_zoom_linesearch
from .optimizers.line_searches import value_and_grad_from_state as value_and_grad_from_state
from .optimizers.lion import lion as lion
from .optimizers.lion import scale_by_lion as scale_by_lion
from .optimizers.madgrad import madgrad as madgrad
from .optimizers.madgrad import scale_by_madgrad as scale_by_madgrad
from .optimizers.mars import mars as mars
from .optimizers.mars import scale_by_mars as scale_by_mars
from .optimizers.momentum import trace as trace
from .optimizers.muon import MuonState as MuonState
from .optimizers.muon import muon as muon
from .optimizers.muon import scale_by_muon as scale_by_muon
from .optimizers.muon import scale_by_shape as scale_by_shape
from .optimizers.nadam import nadam as nadam
from .optimizers.nadam import nadamw as nadamw
from .optimizers.nadam import scale_by_nadam as scale_by_nadam
from .optimizers.noise import add_noise as add_noise
from .optimizers.noise import noisy_sgd as noisy_sgd
from .optimizers.normalize import centralize as centralize
from .optimizers.normalize import normalize_by_update_norm as normalize_by_update_norm
from .optimizers.novograd import novograd as novograd
from .optimizers.novograd import scale_by_novograd as scale_by_novograd
from .optimizers.optimistic import optimistic_adam as optimistic_adam
from .optimizers.optimistic import optimistic_adam_v2 as optimistic_adam_v2
from .optimizers.optimistic import optimistic_gradient_descent as optimistic_gradient_descent
from .optimizers.optimistic import scale_by_optimistic_gradient as scale_by_optimistic_gradient
from .optimizers.privacy import differentially_private_aggregate as differentially_private_aggregate
from .optimizers.privacy import dpsgd as dpsgd
from .optimizers.radam import radam as radam
from .optimizers.radam import scale_by_radam as scale_by_radam
from .optimizers.rmsprop import rmsprop as rmsprop
from .optimizers.rmsprop import scale_by_rms as scale_by_rms
from .optimizers.rmsprop import scale_by_stddev as scale_by_stddev
from .optimizers.rprop import rprop as rprop
from .optimizers.rprop import scale_by_rprop as scale_by_rprop
from .optimizers.scale import scale as scale
from .optimizers.scale import scale_by_schedule as scale_by_schedule
from .optimizers.sgd import sgd as sgd
from .optimizers.sign import scale_by_sign as scale_by_sign
from .optimizers.sign import sign_sgd as sign_sgd
from .optimizers.sign import signum as signum
from .optimizers.simplified_ademamix import scale_by_simplified_ademamix as scale_by_simplified_ademamix
from .optimizers.simplified_ademamix import simplified_ademamix as simplified_ademamix
from .optimizers.sm3 import scale_by_sm3 as scale_by_sm3
from .optimizers.sm3 import sm3 as sm3
from .optimizers.sophia import hutchinson_estimator_diag_hessian as hutchinson_estimator_diag_hessian
from .optimizers.sophia import scale_by_sophia as scale_by_sophia
from .optimizers.sophia import sophia as sophia
from .optimizers.trust_ratio import scale_by_param_block_norm as scale_by_param_block_norm
from .optimizers.trust_ratio import scale_by_param_block_rms as scale_by_param_block_rms
from .optimizers.trust_ratio import scale_by_trust_ratio as scale_by_trust_ratio
from .optimizers.yogi import scale_by_yogi as scale_by_yogi
from .optimizers.yogi import yogi as yogi
from .optimizers.zero_nans import zero_nans as zero_nans

# isort: split

# learning rates that adapt to training feedback
from .controllers._controller import Controller as Controller
from .controllers._controller import LearningRate as LearningRate
from .controllers.curvature import curvature_cap as curvature_cap
from .controllers.distance import distance_cap as distance_cap
from .controllers.distance import dog as dog
from .controllers.distance import dowg as dowg
from .controllers.hypergradient import hypergradient as hypergradient
from .controllers.l4 import l4 as l4
from .controllers.line_search import line_search as line_search
from .controllers.plateau import plateau as plateau
from .controllers.plateau import report as report
from .controllers.polyak import alig as alig
from .controllers.polyak import polyak as polyak
from .controllers.reduce_on_plateau import reduce_on_plateau as reduce_on_plateau

# isort: split

# optimizers that estimate their own rate
from .optimizers.cocob import cocob as cocob
from .optimizers.cocob import scale_by_cocob as scale_by_cocob
from .optimizers.dadapt_adagrad import dadapt_adagrad as dadapt_adagrad
from .optimizers.dadapt_adamw import dadapt_adamw as dadapt_adamw
from .optimizers.dadapt_sgd import dadapt_sgd as dadapt_sgd
from .optimizers.distance_over_gradients import scale_by_distance_over_gradients as scale_by_distance_over_gradients
from .optimizers.galore import GaLoreState as GaLoreState
from .optimizers.galore import galore as galore
from .optimizers.galore import scale_by_galore as scale_by_galore
from .optimizers.hdm import hdm as hdm
from .optimizers.mechanize import mechanize as mechanize
from .optimizers.momo import momo as momo
from .optimizers.momo import momo_adam as momo_adam
from .optimizers.polyak_sgd import polyak_sgd as polyak_sgd
from .optimizers.polyak_sgd import scale_by_polyak as scale_by_polyak
from .optimizers.prodigy import prodigy as prodigy
from .optimizers.schedule_free import schedule_free as schedule_free
from .optimizers.schedule_free_radam import schedule_free_radam as schedule_free_radam
from .optimizers.schedule_free_sgd_adamw import schedule_free_adamw as schedule_free_adamw
from .optimizers.schedule_free_sgd_adamw import schedule_free_sgd as schedule_free_sgd

# isort: split

# their composition
from ._chain import chain as chain
from ._chain import named_chain as named_chain
from ._transformation import Transformation as Transformation
from .optimizers._labels import by_path as by_path
from .optimizers.accumulate import accumulate as accumulate
from .optimizers.apply_if_finite import apply_if_finite as apply_if_finite
from .optimizers.apply_updates import apply_updates as apply_updates
from .optimizers.averaging import eval_params as eval_params
from .optimizers.averaging import params_ema as params_ema
from .optimizers.averaging import polynomial_averaging as polynomial_averaging
from .optimizers.cautious import cautious as cautious
from .optimizers.clip_by_block import clip_by_block_rms as clip_by_block_rms
from .optimizers.clipping import adaptive_grad_clip as adaptive_grad_clip
from .optimizers.clipping import clip as clip
from .optimizers.clipping import clip_by_global_norm as clip_by_global_norm
from .optimizers.layer_decay import layer_wise_decay as layer_wise_decay
from .optimizers.learning_rate import scale_by_learning_rate as scale_by_learning_rate
from .optimizers.lookahead import lookahead as lookahead
from .optimizers.masking import freeze as freeze
from .optimizers.masking import masked as masked
from .optimizers.master_weights import master_weights as master_weights
from .optimizers.multiplier import by_multiplier as by_multiplier
from .optimizers.normalize import normalize as normalize
from .optimizers.pack import pack as pack
from .optimizers.partition import partition as partition
from .optimizers.per_layer import per_layer as per_layer
from .optimizers.sam import sam as sam
from .optimizers.skip_spikes import skip_spikes as skip_spikes
from .optimizers.weight_decay import add_decayed_weights as add_decayed_weights
from .optimizers.with_weight_decay import with_weight_decay as with_weight_decay

# isort: split

# the state of an optimizer: read it, edit it, resume from it
from . import extend as extend
from ._resume import resume as resume
from .state import count as count
from .state import hyperparams as hyperparams
from .state import learning_rate as learning_rate
from .state import learning_rates as learning_rates
from .state import with_hyperparams as with_hyperparams

# isort: split

# the modules that optax has too
from . import contrib as contrib
from . import schedules as schedules
from . import transforms as transforms

# isort: split

# the names of `_late` when one is asked for, and the answer to a name that is nowhere here
from ._elsewhere import answer_in as _answer_in

if _TYPE_CHECKING:
    from ._late import *  # noqa: F403

_answer_in(__name__, late="lrx._late")
