"""No two leaves of a state share a buffer, and none shares one with what the user holds: any of them may be donated."""

import functools

import jax
import jax.numpy as jnp
import pytest

import lrx
from tests.common import avals
from tests.optimizers.cases import CASES, SEARCHES, VARIANTS
from tests.optimizers.wrappers import WRAPPERS

NUMBER = jnp.float32(0.01)  # the user's array, in two places of an optimizer
CONSTANT = {case.name: (case.build(NUMBER), case.needs) for case in CASES + VARIANTS + SEARCHES}
SCHEDULED = {
    f"{case.name}_scheduled": (case.build(lrx.linear_schedule(NUMBER, NUMBER, 3)), case.needs) for case in CASES
}
AROUND = {f"{k}_around": (wrap(lrx.adamw(NUMBER, weight_decay=NUMBER)), ()) for k, wrap in WRAPPERS.items()}
OTHERS = {
    "reduce_on_plateau": (lrx.chain(lrx.sgd(NUMBER), lrx.reduce_on_plateau()), ("value",)),
    "last_link_trace": (lrx.chain(lrx.ema(0.9), lrx.trace(0.9)), ()),
    "polynomial_averaging": (lrx.chain(lrx.sgd(NUMBER), lrx.polynomial_averaging()), ()),
    "pack": (lrx.pack(lrx.adam(NUMBER)), ()),
}
WHOLE = {**CONSTANT, **SCHEDULED, **AROUND, **OTHERS}
OPTIMIZERS = {**CONSTANT, **dict(list(SCHEDULED.items())[::2]), **AROUND, **OTHERS}
"""Whose updates are made too. A schedule lies in the same place of every optimizer."""
COMPILED = {
    **{case.name: CONSTANT[case.name] for case in VARIANTS[2::3] + SEARCHES},
    **dict(list(SCHEDULED.items())[::4]),
    **OTHERS,
}
"""Whose step is compiled too. Of constant rates `test_contract.py` does it, of wrappers `test_composition.py`."""
PARTS = [list(COMPILED)[i::5] for i in range(5)]
"""Each is one program, whose time grows faster than what is in it."""
SCALARS = {"w": 0.5, "b": 0.25}


def loss(params):
    return sum(jnp.sum(p**2) for p in jax.tree.leaves(params))


def scalars():
    return {name: jnp.float32(x) for name, x in SCALARS.items()}


def signals(needs):
    return {name: x for name, x in {"value": jnp.float32(1.0), "value_fn": loss}.items() if name in needs}


@functools.partial(jax.jit, donate_argnums=0)
def moved(tree):
    """The tree, in the buffers that it had: XLA takes each of them once, and they are gone for whoever holds them."""
    return tree


def shared(state, **users):
    """The paths of a state's leaves that share a buffer with another, or with one of the user's."""
    holders = {}
    for path, x in jax.tree_util.tree_leaves_with_path((users, state)):
        if isinstance(x, jax.Array) and x.size:
            holders.setdefault(x.unsafe_buffer_pointer(), []).append(jax.tree_util.keystr(path))
    return [paths for paths in holders.values() if len(paths) > 1 and any(p.startswith("[1]") for p in paths)]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_no_buffer_of_a_state_is_in_another_place(name):
    """Parameters that are scalars, which a broadcast does not copy, and a matrix; updates without `jit`."""
    tx, needs = OPTIMIZERS[name]
    extra = signals(needs)
    params = {"w": [jnp.ones((2, 3)), jnp.float32(0.5)], "b": jnp.float32(0.25)}
    grads = jax.tree.map(jnp.array, params)
    users = {"params": params, "grads": grads, "number": NUMBER, "value": extra.get("value")}
    state = start = tx.init(params)
    assert not shared(state, **users)
    for _ in range(2):
        updates, state = tx.update(grads, state, params, **extra)
        assert not shared(state, updates=updates if "masked" not in name else None, **users)
        assert avals(state) == avals(start)


def test_what_is_donated_is_nobody_elses():
    """Donating a buffer twice is an error of XLA's, and deletes what the user holds."""
    params = {name: scalars() for name in WHOLE}
    states = {name: tx.init(params[name]) for name, (tx, _) in WHOLE.items()}
    moved((params, states))
    assert all(x.is_deleted() for x in jax.tree.leaves((params, states)))
    assert float(NUMBER) == pytest.approx(0.01)


@pytest.mark.parametrize("names", PARTS, ids=[f"part_{i}" for i in range(len(PARTS))])
def test_jitted_init_and_donated_steps(names):
    part = {name: COMPILED[name] for name in names}

    def step(params, states):
        new = {}
        for name, (tx, needs) in part.items():
            updates, state = tx.update(params[name], states[name], params[name], **signals(needs))
            new[name] = lrx.apply_updates(params[name], updates), state
        return {name: params for name, (params, _) in new.items()}, {name: state for name, (_, state) in new.items()}

    step = jax.jit(step, donate_argnums=(0, 1))
    jitted = jax.jit(lambda: {name: tx.init(scalars()) for name, (tx, _) in part.items()})()
    for states in (jitted, {name: tx.init(scalars()) for name, (tx, _) in part.items()}):
        params = {name: scalars() for name in part}
        assert not shared(states, params=params, number=NUMBER)
        for _ in range(2):
            params, states = step(params, states)
            assert not shared(states, params=params, number=NUMBER)
        assert all(bool(jnp.isfinite(x)) for x in jax.tree.leaves(params))
    assert step._cache_size() == 1
    assert float(NUMBER) == pytest.approx(0.01)
