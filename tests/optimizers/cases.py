"""The optimizers of the contract tests: one record each, with what it can do."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lrx
from lrx import extend
from tests.extend import outside

MIXED = {"w": jnp.ones(3, jnp.bfloat16), "b": [jnp.ones(3, jnp.float16), jnp.ones((2, 2)), jnp.ones(2, jnp.complex64)]}


@dataclass(frozen=True)
class Case:
    """An optimizer, its arguments and what it can do."""

    name: str
    make: Callable[..., Any]
    arguments: dict[str, Any] = field(default_factory=dict)
    takes_complex: bool = True
    needs: tuple[str, ...] = ()
    """The extra arguments that its update cannot do without, of `SIGNALS`."""
    rate: float = 0.01
    differentiable: bool = True
    """In reverse mode: a loop whose length depends on the data is not."""
    dtypes: tuple[str, ...] = ()
    """What its memory has besides float32 and int32."""

    @property
    def extra(self):
        return {name: SIGNALS[name] for name in self.needs}

    def build(self, learning_rate=None, **numbers):
        arguments = {"learning_rate": self.rate, **self.arguments, **numbers}
        return self.make(**arguments if learning_rate is None else {**arguments, "learning_rate": learning_rate})

    def numbers(self):
        """Every float argument, defaults included."""
        bound = inspect.signature(self.make).bind(**{"learning_rate": self.rate, **self.arguments})
        bound.apply_defaults()
        return {k: v for k, v in bound.arguments.items() if isinstance(v, float) and np.isfinite(v)}

    def scheduled(self):
        """The arguments with a schedule for every number that takes one: of a controller's, the rate below it."""
        numbers = {"learning_rate": self.rate} if hasattr(self.make, "controlled") else self.numbers()
        return {name: lrx.constant_schedule(x) for name, x in numbers.items()}

    def mixed(self):
        """Parameters of several dtypes."""
        return MIXED if self.takes_complex else {"w": MIXED["w"], "b": MIXED["b"][:2]}


def not_biases(params):
    return {"w": True, "b": False}


def under(controller, optimizer=lrx.sgd, **options):
    """An optimizer as a function of the arguments of the controller that it has."""

    @functools.wraps(controller)
    def make(learning_rate, **numbers):
        return optimizer(controller(learning_rate, **numbers), **options)

    first, *others = inspect.signature(controller).parameters.values()
    make.__signature__ = inspect.Signature([first.replace(name="learning_rate"), *others])  # polyak calls it otherwise
    make.controlled = True
    return make


def around(wrapper, optimizer):
    """A wrapper as a function of its own arguments and of the rate of the optimizer that it wraps."""

    def make(learning_rate, **numbers):
        return wrapper(optimizer(learning_rate), **numbers)

    first, *others = inspect.signature(wrapper).parameters.values()
    own = [p.replace(kind=p.KEYWORD_ONLY) for p in others if p.name != "learning_rate"]
    make.__signature__ = inspect.Signature([first.replace(name="learning_rate"), *own])
    return make


def on_plateau(learning_rate, **numbers):
    """SGD whose updates, not whose rate, are reduced on a plateau."""
    return lrx.chain(lrx.sgd(learning_rate), lrx.reduce_on_plateau(**numbers))


def polyak_sgd(learning_rate, scaling=1.0, eps=0.0):
    """With the bound as its rate."""
    return lrx.polyak_sgd(learning_rate, scaling, eps=eps)


def own_steps(learning_rate, reps_rel=1e-2, f_min=0.0):
    """Two rules that find the sizes of their steps."""
    found = lrx.scale_by_distance_over_gradients(reps_rel), lrx.scale_by_polyak(f_min)
    return lrx.chain(*found, lrx.scale_by_learning_rate(learning_rate))


@extend.pytree_dataclass
class Twice(extend.Rule):
    """The gradients of a batch of two examples that are the same."""

    def init(self, params):
        return ()

    def update(self, updates, state, params=None, **extra):
        return jax.tree.map(lambda u: jnp.stack([u, u]), updates), state


@functools.wraps(lrx.dpsgd)
def of_examples(**arguments):
    return lrx.chain(extend.transformation(Twice()), lrx.dpsgd(**arguments))


SIGNALS = {"value": 1.0, "value_fn": lambda params: 0.0}
MASK = {"w": True, "b": False}
BACKTRACKING = lrx.scale_by_backtracking_linesearch(3, store_grad=True)
SMALL = {"min_dim_size_to_factor": 2}
PER_LEAF = {"hyper_learning_rate": 1e-3, "per_leaf": True}

FAMILY = [
    Case("sgd", lrx.sgd),
    Case("sgd_momentum", lrx.sgd, {"momentum": 0.9}),
    Case("sign_sgd", lrx.sign_sgd),
    Case("signum", lrx.signum),
    Case("adagrad", lrx.adagrad),
    Case("adadelta", lrx.adadelta, {"weight_decay": 0.1}),
    Case("rmsprop", lrx.rmsprop),
    Case("rmsprop_centered", lrx.rmsprop, {"centered": True, "momentum": 0.9}),
    Case("adam", lrx.adam),
    Case("adamw", lrx.adamw),
    Case("adamw_masked", lrx.adamw, {"mask": not_biases}),
    Case("adamax", lrx.adamax),
    Case("adamaxw", lrx.adamaxw),
    Case("nadam", lrx.nadam),
    Case("nadamw_torch", lrx.nadamw, {"momentum_decay": 0.004}),
    Case("amsgrad", lrx.amsgrad),
    Case("radam", lrx.radam),
    Case("adabelief", lrx.adabelief),
    # as in optax its mean starts at 1e-6, which moves a parameter also without a gradient
    Case("yogi", lrx.yogi, {"initial_accumulator_value": 0.0}),
    Case("adan", lrx.adan, {"weight_decay": 0.1}),
    Case("adopt", lrx.adopt),
    Case("ademamix", lrx.ademamix, {"weight_decay": 0.1}),
    Case("acprop", lrx.acprop, {"weight_decay": 0.1}),
    Case("simplified_ademamix", lrx.simplified_ademamix, {"alpha": 2.0, "weight_decay": 0.1}),
    Case("mars", lrx.mars),
    Case("adam_mini", lrx.adam_mini),
    Case("adafactor", lrx.adafactor, SMALL, takes_complex=False),
    Case("lion", lrx.lion),
    Case("lars", lrx.lars, {"weight_decay": 0.1}),
    Case("lamb", lrx.lamb, {"weight_decay": 0.1}),
    Case("novograd", lrx.novograd, {"weight_decay": 0.1}),
    Case("muon", lrx.muon, {"weight_decay": 0.1}),
    Case("sm3", lrx.sm3, takes_complex=False),
    Case("rprop", lrx.rprop, takes_complex=False),
]
ADAPTIVE = [
    Case("plateau", under(lrx.plateau), needs=("value",)),
    Case("polyak", under(lrx.polyak), {"growth": 2.0}, needs=("value",)),
    Case("hypergradient", under(lrx.hypergradient, lrx.adam), {"hyper_learning_rate": 1e-3}),
    Case("l4", under(lrx.l4), needs=("value",)),
    Case("dog", under(lrx.dog), {"init_distance": 0.01}),
    Case("dowg", under(lrx.dowg)),
    Case("distance_cap", under(lrx.distance_cap), {"max_distance": 0.01}),
    Case("curvature_cap", under(lrx.curvature_cap)),
    Case("line_search", under(lrx.line_search), needs=("value", "value_fn"), differentiable=False),
    Case("sophia", lrx.sophia, {"update_interval": 2}, takes_complex=False, needs=("value_fn",), dtypes=("uint32",)),
    Case("momo", lrx.momo, needs=("value",)),
    Case("momo_adam", lrx.momo_adam, needs=("value",)),
    Case("hdm", lrx.hdm, needs=("value",)),
    Case("madgrad", lrx.madgrad, {"weight_decay": 0.1}),
    Case("prodigy", lrx.prodigy, {"estim_lr0": 1e-2}),
    Case("dadapt_sgd", lrx.dadapt_sgd, {"momentum": 0.5, "estim_lr0": 1e-2}),
    Case("dadapt_adagrad", lrx.dadapt_adagrad, {"estim_lr0": 1e-2}),
    Case("dadapt_adamw", lrx.dadapt_adamw, {"estim_lr0": 1e-2}),
    Case("mechanize", around(lrx.mechanize, lrx.adam), {"s_init": 1e-2}),
    Case("cocob", lrx.cocob),
    Case("schedule_free", around(lrx.schedule_free, lrx.sgd), {"decoupling": 20.0}),
    Case("schedule_free_adamw", lrx.schedule_free_adamw),
]
OUTSIDE = [
    Case("outside_rule", outside.soft_sign),
    Case("outside_controller", under(outside.backoff), needs=("value",)),
]
"""Made from public names alone: `tests/extend`."""
CASES = FAMILY + ADAPTIVE + OUTSIDE
VARIANTS = [
    Case("outside_rule_nesterov", outside.soft_sign, {"nesterov": True}),
    Case("sgd_nesterov", lrx.sgd, {"momentum": 0.9, "nesterov": True}),
    Case("adagrad_from_zero", lrx.adagrad, {"initial_accumulator_value": 0.0}),
    Case("rmsprop_eps_outside", lrx.rmsprop, {"eps_in_sqrt": False}),
    Case("rmsprop_initial_scale", lrx.rmsprop, {"initial_scale": 1.0}),
    Case("rmsprop_corrected", lrx.rmsprop, {"bias_correction": True}),
    # corrected, the variance of the first gradient is 0: what is left is division by ε
    Case("rmsprop_centered_corrected", lrx.rmsprop, {"centered": True, "bias_correction": True, "eps": 1e-2}),
    Case("rmsprop_nesterov", lrx.rmsprop, {"momentum": 0.9, "nesterov": True}),
    Case("adam_eps_root", lrx.adam, {"eps_root": 1e-8}),
    Case("adamw_masked_by_tree", lrx.adamw, {"mask": MASK, "nesterov": True}),
    Case("amsgrad_torch", lrx.amsgrad, {"convention": "torch"}),
    Case("radam_nesterov", lrx.radam, {"nesterov": True, "threshold": 4.0}),
    Case("adabelief_nesterov", lrx.adabelief, {"nesterov": True}),
    Case("yogi_of_optax", lrx.yogi),
    Case("adan_paper", lrx.adan, {"convention": "paper"}),
    Case("adopt_without_clipping", lrx.adopt, {"use_clipping": False, "nesterov": True}),
    Case("adafactor_unfactored", lrx.adafactor, {"factored": False, "momentum": 0.9}, takes_complex=False),
    Case(
        "adafactor_plain",
        lrx.adafactor,
        {**SMALL, "multiply_by_parameter_scale": False, "clipping_threshold": None, "weight_decay_rate": 0.1},
        takes_complex=False,
    ),
    Case("lars_masked", lrx.lars, {"trust_ratio_mask": MASK, "weight_decay_mask": not_biases, "nesterov": True}),
    Case("lamb_masked", lrx.lamb, {"weight_decay": 0.1, "mask": MASK}),
    Case("muon_rms", lrx.muon, {"adam_learning_rate": 1e-3, "consistent_rms": 0.2, "ns_coeffs": "dion"}),
    Case("muon_adaptive", lrx.muon, {"adaptive": True, "preconditioning": "aol", "ns_dtype": "bfloat16"}),
    Case("galore", lrx.galore, {"rank": 1, "update_proj_gap": 2, "weight_decay": 0.1}),
    # whose first updates only fill the second moment
    Case("schedule_free_radam", lrx.schedule_free_radam),
    Case("alig", under(lrx.alig), needs=("value",)),
    Case("schedule_free_sgd", lrx.schedule_free_sgd),
    Case("reduce_on_plateau", on_plateau, needs=("value",)),
    Case("plateau_reported", under(lrx.plateau, lrx.adam), {"metric": "reported", "mode": "max", "nan": "skip"}),
    Case("hypergradient_per_leaf", under(lrx.hypergradient), {**PER_LEAF, "mode": "multiplicative"}),
    Case("dog_per_leaf", under(lrx.dog), {"per_leaf": True}),
    Case("curvature_cap_exact", under(lrx.curvature_cap), {"exact": True}, needs=("value_fn",), takes_complex=False),
    Case("momo_adapting", lrx.momo, {"adapt_lower_bound": True}, needs=("value",)),
    Case("prodigy_sliced", lrx.prodigy, {"slice_p": 2, "safeguard_warmup": True}),
    Case("schedule_free_plus", lrx.schedule_free_adamw, {"inner_momentum": 0.9, "polyak": True}, needs=("value",)),
    Case("optimistic_gradient_descent", lrx.optimistic_gradient_descent, {"alpha": 0.5}, dtypes=("bool",)),
    Case("optimistic_adam", lrx.optimistic_adam, {"optimism": 0.02}, dtypes=("bool",)),
    Case("optimistic_adam_v2", lrx.optimistic_adam_v2, dtypes=("bool",)),
    Case("fromage", lrx.fromage),
    Case("noisy_sgd", lrx.noisy_sgd, dtypes=("key<fry>",)),
    Case("polyak_sgd", polyak_sgd, needs=("value",)),
    Case("dpsgd", of_examples, {"l2_norm_clip": 100.0, "noise_multiplier": 0.0, "seed": 0}, dtypes=("key<fry>",)),
    Case("own_steps", own_steps, needs=("value",)),
]
SEARCHES = [
    Case("lbfgs", lrx.lbfgs, needs=("value", "value_fn")),
    Case("lbfgs_backtracking", lrx.lbfgs, {"linesearch": BACKTRACKING}, needs=("value", "value_fn")),
]
"""Apart, since optax's searches do not run in `shard_map` and on explicit axes."""
