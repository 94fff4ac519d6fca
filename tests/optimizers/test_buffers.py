"""No two leaves of a state share a buffer, and none shares one with what the user holds: any of them may be donated."""

import jax
import jax.numpy as jnp
import pytest

import lrx
from tests.common import avals, distance
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
OPTIMIZERS = {**CONSTANT, **dict(list(SCHEDULED.items())[::2]), **AROUND, **OTHERS}
OFTEN = {name: x for name, x in CONSTANT.items() if name not in {case.name for case in VARIANTS[::3] + VARIANTS[1::3]}}
WHOLE = {**OFTEN, **SCHEDULED, **AROUND, **OTHERS}
"""What is compiled. A schedule lies in the same place of every optimizer; of variants every third."""
ALONE = list(dict.fromkeys(name.removesuffix("_scheduled") for name in WHOLE))
PARTS = [[x for x in WHOLE if x.removesuffix("_scheduled") in ALONE[i::18]] for i in range(18)]
"""Each is one program, whose time grows faster than what is in it; a schedule is beside the same as a number."""
SCALARS = {"w": 0.5, "b": 0.25}


def loss(params):
    return sum(jnp.sum(p**2) for p in jax.tree.leaves(params))


def scalars():
    return {name: jnp.float32(x) for name, x in SCALARS.items()}


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
    extra = {k: v for k, v in {"value": jnp.float32(1.0), "value_fn": loss}.items() if k in needs}
    params = {"w": [jnp.ones((2, 3)), jnp.float32(0.5)], "b": jnp.float32(0.25)}
    grads = jax.tree.map(jnp.array, params)
    users = {"params": params, "grads": grads, "number": NUMBER, "value": extra.get("value")}
    state = start = tx.init(params)
    assert not shared(state, **users)
    for _ in range(2):
        updates, state = tx.update(grads, state, params, **extra)
        assert not shared(state, updates=updates if "masked" not in name else None, **users)
        assert avals(state) == avals(start)


@pytest.mark.parametrize("names", PARTS, ids=[f"part_{i}" for i in range(len(PARTS))])
def test_jitted_init_and_a_donated_step_of_the_whole_list(names):
    """Many in one program: donating a buffer twice is an error of XLA's, and deletes what the user holds."""
    part = {name: WHOLE[name] for name in names}
    params = {name: scalars() for name in part}
    states = jax.jit(lambda: {name: tx.init(scalars()) for name, (tx, _) in part.items()})()
    assert not shared(states, params=params, number=NUMBER)

    def step(params, states):
        new = {}
        for name, (tx, needs) in part.items():
            extra = {k: v for k, v in {"value": 1.0, "value_fn": loss}.items() if k in needs}
            new[name] = tx.update(params[name], states[name], params[name], **extra)
        return {name: lrx.apply_updates(params[name], u) for name, (u, _) in new.items()}, {
            name: state for name, (_, state) in new.items()
        }

    step = jax.jit(step, donate_argnums=(0, 1))
    for _ in range(2):
        params, states = step(params, states)
        assert not shared(states, params=params, number=NUMBER)
    for name in SCHEDULED.keys() & part.keys():  # with a constant rate the contract compares it with a scan
        assert distance(params[name], params[name.removesuffix("_scheduled")]) < 1e-6, name
    eager = {name: tx.init(scalars()) for name, (tx, _) in part.items()}
    params, _ = step({name: scalars() for name in part}, eager)
    assert float(NUMBER) == pytest.approx(0.01)
    assert all(bool(jnp.isfinite(x)) for x in jax.tree.leaves(params))
