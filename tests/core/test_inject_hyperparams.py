"""`optax.inject_hyperparams` around lrx's factories does what it does around optax's."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrx
from tests.common import avals, needs_optax
from tests.core.twins import TWINS
from tests.operations import by_operations

PARAMS = {"w": np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3), "b": np.full(3, 0.5, np.float32)}


WRAPPERS = {"apply_if_finite", "chain", "freeze", "lookahead", "masked", "mechanize", "named_chain", "partition"}
WRAPPERS |= {"multi_transform", "schedule_free", "reduce_on_plateau", "sam", "normalize", "sophia"}
"""What takes transformations, or no numbers. `sophia` also needs the loss as a function."""
REFUSED = {"scale_by_sm3", "scale_by_rprop", "scale_by_adopt", "scale_by_muon"}
"""Where optax's own factory branches on a number, or calls one; or where it takes no vectors, as that of Muon. `sm3`,
`rprop`, `adopt` and `muon` are above."""
ELSEWHERE = {"optimistic_adam", "scale_by_cocob"}
"""Compared in `optimizers/test_optax_rules.py`: the first is deprecated in optax, and what scales COCOB's updates is
part of its bets in optax alone."""
ELSEWHERE |= {"lbfgs", "scale_by_backtracking_linesearch", "scale_by_zoom_linesearch"}
"""Compared in `optimizers/test_lbfgs.py`: their updates need the loss as a function."""
ELSEWHERE |= {"galore", "scale_by_galore"}
"""Compared in `optimizers/test_galore.py`: the rank decides shapes, so neither library takes it injected."""
ELSEWHERE |= {"differentially_private_aggregate", "dpsgd"}
"""Compared in `optimizers/test_privacy.py`: their updates are the gradients of single examples."""


def injected(twin, library):
    factory = twin.factory(library)
    static = [name for name in twin.static if name in inspect.signature(factory).parameters]
    return optax.inject_hyperparams(factory, static_args=static)(**twin.arguments)


def loss(params):
    return 0.5 * jnp.sum((params["w"] - 0.33) ** 2) + jnp.sum(params["b"] ** 4)


def path_of(tx, names, scale):
    """The parameters after each five steps, with one number edited before each as `state.hyperparams[name] = value`."""
    tx = optax.with_extra_args_support(tx)

    @by_operations
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
    needs_optax(twin.since)
    theirs = injected(twin, optax)
    scheduled = [name for name, x in twin.arguments.items() if callable(x)]
    names = sorted(set(theirs.init(PARAMS).hyperparams) - {*scheduled, *twin.not_edited})
    scale = 1.0 if "learning_rate" in twin.arguments else -0.01
    pairs = zip(
        jax.tree.leaves(path_of(injected(twin, lrx), names, scale)),
        jax.tree.leaves(path_of(theirs, names, scale)),
        strict=True,
    )
    for a, b in pairs:
        went = np.abs(b - b[0]).max()
        assert went > 0
        np.testing.assert_allclose(a, b, rtol=0, atol=twin.tolerance * went)


def test_sophia_takes_its_numbers_injected():
    """Also the interval of its prints, which decides what is compiled and is of no account while it is silent."""
    injected, plain = optax.inject_hyperparams(lrx.sophia)(0.1), lrx.sophia(0.1)

    def first(tx):
        return tx.update(jax.grad(loss)(PARAMS), tx.init(PARAMS), PARAMS, obj_fn=loss)[0]

    ours, expected = jax.jit(lambda: (first(injected), first(plain)))()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), ours, expected)
    with pytest.raises(ValueError, match=r"every_n_steps=...\) must be a plain number where it is verbose"):
        jax.eval_shape(optax.inject_hyperparams(lrx.sophia)(0.1, verbose=True).init, PARAMS)


def test_every_factory_of_both_libraries_is_a_twin():
    """What both have and takes numbers is in the list above; wrappers take transformations, not numbers."""
    shared = set()
    for name in dir(lrx):
        theirs = vars(optax.contrib).get(name) or vars(optax).get(name)
        if not inspect.isfunction(theirs) or not inspect.isfunction(getattr(lrx, name)) or getattr(lrx, name) is theirs:
            continue
        if "GradientTransformation" in str(inspect.signature(theirs).return_annotation):
            shared.add(name)
    missing = shared - WRAPPERS - REFUSED - ELSEWHERE - {twin.name for twin in TWINS}
    assert not missing
