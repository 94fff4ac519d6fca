"""`resume` from optax's states: the next steps are those of optax, whatever the state has gone through on the way."""

import functools
import pickle
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx, serialization

import lrx
from lrx._optax_states import OPTAX_FIELDS
from tests.common import as_restored, avals, same, words
from tests.core.twins import RATE, TWINS, Twin
from tests.loops.common import restored, written
from tests.operations import by_operations

PARAMS = {"w": np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3), "b": np.array([0.3, -0.2], np.float32)}
MASK = {"w": True, "b": False}
LABELS = {"w": "w", "b": "b"}
VALUE = {"value": np.float32(0.7)}
FEW = 8
"""Updates before the change and after it."""


def gradients():
    rng = np.random.default_rng(3)
    return {k: rng.normal(size=(2 * FEW, *p.shape)).astype(np.float32) for k, p in PARAMS.items()}


DECAY = optax.linear_schedule(0.02, 0.001, 40)
OPTIONS = [
    Twin("sgd", RATE | {"momentum": 0.9, "nesterov": True}),
    Twin("rmsprop", RATE),
    Twin("rmsprop", RATE | {"centered": True, "momentum": 0.9, "nesterov": True}),
    Twin("rmsprop", RATE | {"centered": True, "bias_correction": True}),
    Twin("rmsprop", {"learning_rate": DECAY, "bias_correction": True}),
    Twin("adafactor", RATE | {"min_dim_size_to_factor": 2, "momentum": 0.9}),
    Twin("adamw", {"learning_rate": DECAY, "weight_decay": 0.1, "mask": MASK}),
    Twin("lion", {"learning_rate": DECAY}),
    Twin("radam", {"learning_rate": DECAY}),
    Twin("rprop", {"learning_rate": 0.05}),
]


def pairs():
    """Each rule that both have: optax's and lrx's, by a name."""
    twins = [t for t in TWINS if not callable(t.arguments.get("b1"))]  # optax takes such a number injected
    for i, twin in enumerate([*twins, *OPTIONS]):
        yield f"{twin.name}_{i}", twin.factory(optax)(**twin.arguments), twin.factory(lrx)(**twin.arguments)
    for name, (theirs, ours) in COMPOSED.items():
        yield name, theirs, ours


def injected(factory, **numbers):
    return optax.inject_hyperparams(factory)(**numbers)


def multi_steps(tx, every):
    return optax.MultiSteps(tx, every).gradient_transformation()


def quadratic(params):
    return sum(jnp.sum(p**2) for p in jax.tree.leaves(params))


def searching(library, search):
    """A line search with a loss of its own, in whose place the loop's gradients only vary the direction."""

    def update(updates, state, params, **extra):
        value, grad = jax.value_and_grad(quadratic)(params)
        direction = jax.tree.map(lambda g, u: g + 0.1 * u, grad, updates)
        return search.update(
            jax.tree.map(jnp.negative, direction), state, params, value=value, grad=grad, value_fn=quadratic
        )

    return library.GradientTransformationExtraArgs(search.init, update)


COMPOSED = {
    "chain": (
        optax.chain(optax.clip(0.5), optax.chain(optax.scale_by_adam(), optax.trace(0.5), optax.ema(0.9))),
        lrx.chain(lrx.clip(0.5), lrx.scale_by_adam(), lrx.trace(0.5), lrx.ema(0.9)),
    ),
    "named_chain": (
        optax.named_chain(("a", optax.clip(0.5)), ("b", optax.adam(DECAY))),
        lrx.named_chain(("first", lrx.clip(0.5)), ("second", lrx.adam(DECAY))),
    ),
    "two_of_a_kind": (
        optax.chain(optax.trace(0.9), optax.trace(0.5), optax.scale_by_learning_rate(0.1)),
        lrx.chain(lrx.trace(0.9), lrx.trace(0.5), lrx.scale_by_learning_rate(0.1)),
    ),
    "masked": (optax.masked(optax.adam(0.01), MASK), lrx.masked(lrx.adam(0.01), MASK)),
    "partition": (
        optax.partition({"w": optax.adam(DECAY), "b": optax.sgd(0.1, momentum=0.9)}, LABELS),
        lrx.partition({"w": lrx.adam(DECAY), "b": lrx.sgd(0.1, momentum=0.9)}, LABELS),
    ),
    "multi_transform": (
        optax.multi_transform({1: optax.adam(DECAY), 2: optax.adam(0.1)}, {"w": 1, "b": 2}),
        lrx.partition({"w": lrx.adam(DECAY), "b": lrx.adam(0.1)}, LABELS),
    ),
    "partition_to_masks": (
        optax.partition({"w": optax.adam(DECAY), "b": optax.sgd(0.1, momentum=0.9)}, LABELS),
        lrx.chain(
            lrx.masked(lrx.adam(DECAY), MASK), lrx.masked(lrx.sgd(0.1, momentum=0.9), {"w": False, "b": True})
        ),
    ),
    "frozen": (
        optax.partition({"w": optax.adam(DECAY), "b": optax.set_to_zero()}, LABELS),
        lrx.partition({"w": lrx.adam(DECAY), "b": lrx.freeze(True)}, LABELS),
    ),
    "multi_steps": (multi_steps(optax.adam(DECAY), 3), lrx.accumulate(lrx.adam(DECAY), 3)),
    "multi_steps_of_sgd": (multi_steps(optax.sgd(0.1), 3), lrx.accumulate(lrx.sgd(0.1), 3)),
    "apply_if_finite": (optax.apply_if_finite(optax.adam(DECAY), 3), lrx.apply_if_finite(lrx.adam(DECAY), 3)),
    "injected": (injected(optax.adam, learning_rate=0.01), lrx.adam(0.01)),
    "injected_schedule": (injected(optax.sgd, learning_rate=DECAY), lrx.sgd(DECAY)),
    "injected_b1": (
        injected(optax.adam, learning_rate=DECAY, b1=optax.linear_schedule(0.5, 0.9, 30)),
        lrx.adam(DECAY, b1=optax.linear_schedule(0.5, 0.9, 30)),
    ),
    "mechanize": (
        optax.contrib.mechanize(optax.sgd(0.1), weight_decay=0.0), lrx.mechanize(lrx.sgd(0.1), weight_decay=0.0)
    ),
    "schedule_free": (
        optax.contrib.schedule_free(optax.sgd(0.1), 0.1, b1=0.9), lrx.schedule_free(lrx.sgd(0.1), 0.1, b1=0.9)
    ),
    "backtracking": (
        searching(optax, optax.scale_by_backtracking_linesearch(8, store_grad=True)),
        searching(lrx, lrx.scale_by_backtracking_linesearch(8, store_grad=True)),
    ),
    "zoom": (
        searching(optax, optax.scale_by_zoom_linesearch(5)), searching(lrx, lrx.scale_by_zoom_linesearch(5))
    ),
    "lbfgs": (searching(optax, optax.lbfgs(memory_size=3)), searching(lrx, lrx.lbfgs(memory_size=3))),
    "dog": (optax.contrib.dog(1.0, ("heuristic", 1e-2)), lrx.sgd(lrx.dog(1.0, reps_rel=1e-2))),
    "dowg": (optax.contrib.dowg(), lrx.sgd(lrx.dowg())),
    "reduce_on_plateau": (
        optax.chain(optax.sgd(0.1), optax.contrib.reduce_on_plateau(patience=1)),
        lrx.chain(lrx.sgd(0.1), lrx.reduce_on_plateau(patience=1)),
    ),
}  # fmt: skip


@functools.cache
def both():
    """The names, optax's optimizers and lrx's, and optax's states and parameters after some updates."""
    names, theirs, ours = zip(*pairs(), strict=True)
    runs = advanced(theirs, [PARAMS] * len(theirs), [tx.init(PARAMS) for tx in theirs], 0)
    return names, theirs, ours, runs


def advanced(txs, params, states, begin):
    """The parameters and states of many optimizers after some more updates."""
    some = {k: g[begin : begin + FEW] for k, g in gradients().items()}
    new = [after_updates(tx)(*start, some) for tx, *start in zip(txs, params, states, strict=True)]
    return tuple(map(list, zip(*new, strict=True)))


@functools.cache
def after_updates(tx):
    """What updates parameters and a state with one gradient after another, traced once for each optimizer."""
    extended = optax.with_extra_args_support(tx)

    def step(carry, g):
        params, state = carry
        updates, state = extended.update(g, state, params, **VALUE)
        return (optax.apply_updates(params, updates), state), None

    return by_operations(lambda params, state, some: jax.lax.scan(step, (params, state), some)[0])


def quiet(line):
    assert "starts at 0: the checkpoint has no count for it" in line, line


@functools.cache
def resumed():
    """lrx's states from those of optax."""
    _, _, ours, (params, states) = both()
    return [lrx.resume(tx, p, s, report=quiet) for tx, p, s in zip(ours, params, states, strict=True)]


def test_the_next_updates_are_those_of_optax():
    names, theirs, ours, (params, states) = both()
    expected, got = advanced(theirs, params, states, FEW)[0], advanced(ours, params, resumed(), FEW)[0]
    for name, old, want, have in zip(names, params, expected, got, strict=True):
        for leaf in PARAMS:
            way, rounding = np.abs(want[leaf] - old[leaf]).max(), FEW * np.finfo(np.float32).eps
            # optax forms RAdam's ρ_t in float32, from numbers that cancel for small t
            bound = 3e-3 if "radam" in name else 5e-5
            assert np.abs(want[leaf] - have[leaf]).max() <= bound * way + rounding, (name, leaf)


FORMS = {
    "orbax": as_restored,
    "flax": serialization.to_state_dict,
    "msgpack": lambda state: serialization.msgpack_restore(
        serialization.to_bytes(words(dict(state) if hasattr(state, "keys") else state))
    ),
    "pickle": lambda state: pickle.loads(pickle.dumps(jax.device_get(state))),
}


@pytest.mark.parametrize("form", FORMS)
def test_what_a_file_gives_back_is_read_as_the_live_state_is(form):
    names, _, ours, (params, states) = both()
    for name, tx, p, state, live in zip(names, ours, params, states, resumed(), strict=True):
        assert avals(live) == avals(tx.init(PARAMS)), name
        assert same(lrx.resume(tx, p, FORMS[form](state), report=quiet), live), name
        buffers = [x.unsafe_buffer_pointer() for x in jax.tree.leaves((live, p)) if x.size]
        assert len(set(buffers)) == len(buffers), name  # a step may donate them


def test_what_orbax_restores_without_a_target(tmp_path):
    names, _, ours, (params, states) = both()
    for name in ("masked", "frozen", "multi_steps", "injected_schedule", "named_chain"):
        tx, p, state = ((x[names.index(name)]) for x in (ours, params, states))
        written(state, tmp_path / name)
        live = lrx.resume(tx, p, state, report=quiet)
        assert same(lrx.resume(tx, p, restored(tmp_path / name), report=quiet), live), name


def test_an_optimizer_of_nnx_in_its_boxes():
    model = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adam(1e-3), wrt=nnx.Param)
    optimizer.update(model, jax.tree.map(jnp.ones_like, nnx.state(model, nnx.Param)))
    params, tx = nnx.state(model, nnx.Param), lrx.adam(DECAY)
    new = lrx.resume(tx, params, optimizer.opt_state, report=pytest.fail)
    assert avals(new) == avals(tx.init(params))
    for held in (nnx.state(optimizer), nnx.to_pure_dict(nnx.state(optimizer))):
        assert same(lrx.resume(tx, params, held["opt_state"], report=pytest.fail), new)
    assert lrx.count(new) == 1
    np.testing.assert_allclose(new["scale_by_adam"].mu["kernel"][...], 0.1, rtol=1e-6)


def test_a_lookahead_of_a_pair_of_parameters():
    """The slow parameters are in the pair. Without it they would start anew, which is an error by path."""
    pair = optax.LookaheadParams.init_synced(PARAMS)
    state = optax.lookahead(optax.adam(DECAY), 3, 0.5).init(pair)._replace(steps_since_sync=jnp.int32(2))
    tx = lrx.lookahead(lrx.adam(DECAY), 3, 0.5)
    assert lrx.resume(tx, pair, state, report=pytest.fail).steps_since_sync == 2
    with pytest.raises(ValueError, match=r"averaged\.b is not in the checkpoint"):
        lrx.resume(tx, PARAMS, state)


def test_each_state_of_optax_is_known_by_its_fields():
    """Those that files hold: not the parts of searches, which do not outlive a step."""
    modules = [m for name, m in sys.modules.items() if name.split(".")[0] == "optax"]
    classes = [x for m in modules for x in vars(m).values()]
    states = [x for x in classes if isinstance(x, type) and x.__name__.endswith("State") and hasattr(x, "_fields")]
    unknown = [x.__name__ for x in states if x._fields and frozenset(x._fields) not in OPTAX_FIELDS]
    assert [name for name in unknown if "search" not in name.lower() and "Element" not in name] == [
        "AccumulateAvgUpdatesState"
    ]
