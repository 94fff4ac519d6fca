"""`optax.inject_hyperparams` around lrx's factories does what it does around optax's."""

import inspect
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrx
from tests.common import avals

pytestmark = pytest.mark.usefixtures("cheap_module")
PARAMS = {"w": np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3), "b": np.full(3, 0.5, np.float32)}


@dataclass(frozen=True)
class Twin:
    """A factory that both libraries have, by path, and how to call it."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    static: tuple[str, ...] = ()
    not_edited: tuple[str, ...] = ()
    tolerance: float = 5e-5
    """Of the parameters after 50 steps, relative to how far they went."""

    def of(self, library):
        place = library if library is lrx or hasattr(optax, self.name) else optax.contrib
        factory = getattr(place, self.name)
        static = [name for name in self.static if name in inspect.signature(factory).parameters]
        return optax.inject_hyperparams(factory, static_args=static)(**self.arguments)


RATE = {"learning_rate": 0.01}
SCHEDULED = {"learning_rate": optax.linear_schedule(0.02, 0.001, 40)}
TWINS = [
    Twin("sgd", RATE | {"momentum": 0.9}),
    Twin("sgd", SCHEDULED),
    Twin("sign_sgd", RATE),
    Twin("adagrad", RATE),
    Twin("adadelta", {"learning_rate": 0.5}),
    Twin("rmsprop", RATE | {"momentum": 0.5}),
    Twin("adam", RATE),
    Twin("adam", {"learning_rate": lrx.cosine_decay_schedule(0.02, 40), "b1": optax.linear_schedule(0.5, 0.9, 30)}),
    Twin("adamw", SCHEDULED | {"weight_decay": 0.1}),
    Twin("adamax", RATE),
    Twin("adamaxw", RATE),
    Twin("nadam", RATE),
    Twin("nadamw", RATE),
    Twin("amsgrad", RATE),
    Twin("radam", RATE),
    Twin("adabelief", RATE),
    Twin("yogi", RATE),
    Twin("adan", RATE | {"weight_decay": 0.1}),
    Twin("lion", {"learning_rate": 1e-3}),
    Twin("lars", {"learning_rate": 0.1, "weight_decay": 0.1}),
    Twin("lamb", RATE | {"weight_decay": 0.1}),
    Twin("novograd", RATE),
    Twin("sm3", RATE),
    Twin("rprop", RATE, not_edited=("learning_rate",)),  # optax's counts in init alone
    Twin("adafactor", RATE, static=("min_dim_size_to_factor", "factored", "decay_offset")),
    Twin("ademamix", RATE),
    Twin("adopt", RATE, static=("clip_value_fn",)),
    Twin("prodigy", {"learning_rate": 1.0}),
    Twin("dadapt_adamw", {"learning_rate": 1.0}),
    Twin("momo", RATE),
    Twin("momo_adam", RATE),
    Twin("cocob", {"learning_rate": 1.0}, not_edited=("learning_rate",)),  # a rate that changes is lrx's own
    Twin("signum", RATE),
    # optax forgets by which b1 the parameters were mixed: the average jumps where b1 changes
    Twin("schedule_free_sgd", RATE, not_edited=("b1",)),
    Twin("schedule_free_adamw", RATE, not_edited=("b1",)),
    Twin("trace", {"decay": 0.9}),
    Twin("ema", {"decay": 0.9}),
    Twin("clip", {"max_delta": 0.3}),
    Twin("clip_by_global_norm", {"max_norm": 0.3}),
    Twin("clip_by_block_rms", {"threshold": 0.3}),
    Twin("adaptive_grad_clip", {"clipping": 0.1}),
    Twin("add_decayed_weights", {"weight_decay": 0.1}),
    Twin("scale_by_learning_rate", RATE),
]
TWINS += [
    Twin(f"scale_by_{rule}")
    for rule in [
        "adadelta",
        "adam",
        "adamax",
        "adan",
        "ademamix",
        "amsgrad",
        "belief",
        "lion",
        "novograd",
        "param_block_rms",
        "radam",
        "rms",
        "rss",
        "sign",
        "stddev",
        "trust_ratio",
        "yogi",
    ]
]
WRAPPERS = {"apply_if_finite", "chain", "freeze", "lookahead", "masked", "mechanize", "named_chain", "partition"}
WRAPPERS |= {"schedule_free", "reduce_on_plateau"}
"""What takes transformations."""
REFUSED = {"scale_by_sm3", "scale_by_rprop", "scale_by_adopt"}
"""Where optax's own factory branches on a number, or calls one. `sm3`, `rprop` and `adopt` are above."""


def loss(params):
    return 0.5 * jnp.sum((params["w"] - 0.33) ** 2) + jnp.sum(params["b"] ** 4)


def path_of(tx, names, scale):
    """The parameters after each five steps, with one number edited before each as `state.hyperparams[name] = value`."""
    tx = optax.with_extra_args_support(tx)

    @jax.jit
    def five_steps(params, state):
        def step(carry, _):
            params, state = carry
            value, grads = jax.value_and_grad(loss)(params)
            updates, state = tx.update(grads, state, params, value=value)
            updates = jax.tree.map(lambda u: scale * u, updates)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, state), None, length=5)[0]

    params, state = jax.tree.map(jnp.asarray, PARAMS), tx.init(PARAMS)
    seen = [params]
    for i in range(10):
        if 0 < i <= len(names):
            x = state.hyperparams[names[i - 1]]
            state.hyperparams[names[i - 1]] = (x * 0.75).astype(x.dtype)
        before = avals(state)
        params, state = five_steps(params, state)
        assert avals(state) == before
        seen.append(params)
    return jax.tree.map(lambda *xs: np.stack(xs), *seen)


@pytest.mark.parametrize("twin", TWINS, ids=lambda twin: twin.name)
def test_50_steps_with_edits_agree_with_optax(twin):
    theirs = twin.of(optax)
    scheduled = [name for name, x in twin.arguments.items() if callable(x)]
    names = sorted(set(theirs.init(PARAMS).hyperparams) - {*scheduled, *twin.not_edited})
    scale = 1.0 if "learning_rate" in twin.arguments else -0.01
    pairs = zip(
        jax.tree.leaves(path_of(twin.of(lrx), names, scale)),
        jax.tree.leaves(path_of(theirs, names, scale)),
        strict=True,
    )
    for a, b in pairs:
        went = np.abs(b - b[0]).max()
        assert went > 0
        np.testing.assert_allclose(a, b, rtol=0, atol=twin.tolerance * went)


def test_every_factory_of_both_libraries_is_a_twin():
    """What both have and takes numbers is in the list above; wrappers take transformations, not numbers."""
    shared = set()
    for name in dir(lrx):
        theirs = getattr(optax, name, None) or getattr(optax.contrib, name, None)
        if not inspect.isfunction(theirs) or not inspect.isfunction(getattr(lrx, name)):
            continue
        if "GradientTransformation" in str(inspect.signature(theirs).return_annotation):
            shared.add(name)
    missing = shared - WRAPPERS - REFUSED - {twin.name for twin in TWINS}
    assert not missing
