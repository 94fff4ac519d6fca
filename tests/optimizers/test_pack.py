"""`pack`: the same updates from a few long vectors."""

import re
from collections import Counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrx
from lrx._pytree import pytree_dataclass
from lrx._transformation import transformation
from lrx.controllers._controller import Controller
from tests.common import GRADS, PARAMS, avals, distance, one_step, same, scan, train, warmup_cosine
from tests.core.rules import Typed
from tests.operations import by_operations
from tests.optimizers.cases import CASES, VARIANTS

SHAPES = {"a": (2, 3), "b": [(3,), (), (6,)], "c": ((2, 5), (0, 2)), "d": {"e": (1, 3), "f": None}, "g": (3,)}


def is_shape(x):
    return isinstance(x, tuple) and all(isinstance(n, int) for n in x)


def tree(steps=(), seed=0, dtypes=("float32",)):
    """Leaves of equal and of different sizes, the dtypes in turn."""
    rng, kinds = np.random.default_rng(seed), iter(range(100))

    def leaf(shape):
        return jnp.asarray(rng.normal(size=(*steps, *shape)), dtypes[next(kinds) % len(dtypes)])

    return jax.tree.map(leaf, SHAPES, is_leaf=is_shape)


DTYPES = {"float32": ["float32"], "mixed": ["float32", "bfloat16", "float16"]}
MASK = {"w": True, "b": False}
FALLING = lrx.linear_schedule(0.1, 0.0, 40)
OPTIMIZERS = {
    "adamw": lrx.adamw(FALLING, weight_decay=0.1),
    "lion": lrx.lion(0.01),
    "rmsprop": lrx.rmsprop(0.01, centered=True, momentum=0.9),
    "clip_adam": lrx.chain(lrx.clip_by_global_norm(1.0), lrx.adam(0.1)),
}
optimizers = pytest.mark.parametrize("name", OPTIMIZERS)


def run(tx, dtypes, steps=20):
    params = tree(dtypes=dtypes)
    state, step = tx.init(params), by_operations(lambda *carry: one_step(tx, *carry))
    for i in range(steps):
        params, state = step(params, state, tree(seed=i + 1, dtypes=dtypes))
    return params


@optimizers
@pytest.mark.parametrize("dtypes", DTYPES.values(), ids=DTYPES.keys())
def test_twenty_steps_are_those_of_the_optimizer_itself(name, dtypes):
    """To the bit where nothing is fused, up to the order in which a norm is summed."""
    ours, alone = (run(tx, dtypes) for tx in (lrx.pack(OPTIMIZERS[name]), OPTIMIZERS[name]))
    assert same(ours, alone) or (name == "clip_adam" and distance(ours, alone) < 1e-6 and avals(ours) == avals(alone))


def test_a_jitted_run_is_that_of_the_optimizer_itself():
    params, grads, tx = tree(), tree((20,), 1), lrx.accumulate(OPTIMIZERS["clip_adam"], 3)
    ours, alone = (
        jax.jit(lambda params, grads, tx=tx: scan(tx, params, grads))(params, grads) for tx in (lrx.pack(tx), tx)
    )
    assert distance(ours, alone) < 2e-6


@pytest.mark.parametrize("max_size", [1, 5, 6, 65_536])
def test_larger_leaves_stay_as_they_are(max_size):
    params = tree()
    tx = lrx.pack(lrx.adam(0.1), max_size=max_size)
    mu = tx.init(params).memory.inner["scale_by_adam"].memory.mu
    sizes = sorted(x.size for x in jax.tree.leaves(params))
    assert mu["packed"]["float32"].size == sum(n for n in sizes if n <= max_size)
    assert sorted(x.size for x in jax.tree.leaves(mu["single"])) == [0, *(n for n in sizes if n > max_size)]
    expected = lrx.adam(0.1).update(params, lrx.adam(0.1).init(params))[0]
    assert same(tx.update(params, tx.init(params), params)[0], expected)


def test_rates_are_read_and_schedules_edited_through_it_without_a_new_trace(traces):
    tx = lrx.pack(lrx.adam(warmup_cosine()))
    step, state = jax.jit(lambda *x: tx.update(*x)), tx.init(PARAMS)
    _, state = step(GRADS, state, PARAMS)
    other = warmup_cosine(peak_value=2.0, warmup_steps=4)
    edited = lrx.with_hyperparams(state, learning_rate=other, b1=0.5)
    for _ in range(2):
        _, edited = step(GRADS, edited, PARAMS)
    assert traces.count == 1
    assert lrx.learning_rate(edited) == other(2)
    assert lrx.count(edited) == 3
    assert lrx.hyperparams(edited)["scale_by_adam.b1"] == 0.5


@pytest.mark.filterwarnings("error:Some donated buffers")
def test_donated_loop_compiles_once_and_updates_in_place():
    tx = lrx.pack(lrx.adamw(FALLING))
    step = jax.jit(lambda params, state, grads: one_step(tx, params, state, grads), donate_argnums=(0, 1))
    params = {name: jnp.ones((3, 2)) for name in "abcdef"}
    state, grads = tx.init(params), jax.tree.map(jnp.copy, params)
    given = params, state
    for _ in range(3):
        params, state = step(params, state, grads)
    assert step._cache_size() == 1
    assert all(x.is_deleted() for x in jax.tree.leaves(given) if x.size > 1)
    assert lrx.count(state) == 3


def test_equations_of_the_moments_do_not_grow_with_the_number_of_leaves():
    tx = lrx.pack(lrx.chain(lrx.clip_by_global_norm(1.0), lrx.adamw(FALLING)))

    def measured(leaves):
        params = {str(i): jnp.ones(3) for i in range(leaves)}
        state = tx.init(params)
        jaxpr = jax.make_jaxpr(lambda *x: tx.update(*x))(params, state, params)
        kinds = Counter(e.primitive.name for e in jaxpr.eqns)
        places = kinds.pop("dynamic_slice")
        assert kinds.pop("slice") == leaves
        assert places == np.sqrt(leaves) == len(state.memory.offsets)
        for name in ("lt", "add", "select_n"):  # a dynamic slice counts a negative place from the end
            kinds[name] -= places
        return kinds, len(jax.tree.leaves(state.memory.inner))

    few, many = measured(16), measured(144)
    assert many == few


def test_gradients_may_have_dtypes_of_their_own():
    params = {"a": jnp.ones(3), "b": jnp.ones(3), "c": jnp.ones(3, jnp.bfloat16)}
    grads = {"a": jnp.full(3, 0.3, jnp.bfloat16), "b": jnp.full(3, 0.3), "c": jnp.full(3, 0.3)}
    tx = lrx.adamw(0.1)
    with jax.numpy_dtype_promotion("strict"):
        ours, alone = (t.update(grads, t.init(params), params)[0] for t in (lrx.pack(tx), tx))
    assert same(ours, alone)


def test_wrapped_by_others_and_around_others():
    alone = lrx.adamw(0.1)
    for packed, plain in (
        (lrx.masked(lrx.pack(alone), MASK), lrx.masked(alone, MASK)),
        (lrx.pack(lrx.lookahead(lrx.pack(alone), 2, 0.5)), lrx.lookahead(alone, 2, 0.5)),
        (
            optax.chain(optax.clip(0.1), lrx.pack(optax.adamw(0.1), elementwise=True)),
            optax.chain(optax.clip(0.1), optax.adamw(0.1)),
        ),
    ):
        assert distance(train(packed)[0], train(plain)[0]) < 1e-6
    averaged = lrx.chain(lrx.pack(alone), lrx.params_ema(0.9))
    params, state = train(averaged)
    expected = lrx.eval_params(train(lrx.chain(alone, lrx.params_ema(0.9)))[1], params)
    assert distance(lrx.eval_params(state, params), expected) < 1e-6


def test_equal_packs_are_equal_and_resume():
    tx = lrx.pack(lrx.adam(0.1), max_size=5)
    assert tx == lrx.pack(lrx.adam(0.1), max_size=5)
    assert tx != lrx.pack(lrx.adam(0.1), max_size=6)
    assert repr(tx).startswith("pack(tx=chain(scale_by_adam(b1=0.9")
    assert eval(repr(tx), vars(lrx)) == tx
    _, state = train(tx)
    resumed = lrx.resume(lrx.pack(lrx.adam(FALLING), max_size=5), PARAMS, state)
    assert lrx.count(resumed) == 3
    with pytest.raises(ValueError, match=r"mu\.packed\.float32 has shape \(3,\) in the checkpoint, \(4,\) in tx"):
        lrx.resume(tx, {**PARAMS, "b": np.zeros(4, np.float32)}, state)


@pytree_dataclass
class Listener(Controller):
    """A controller that does not say whether it is elementwise."""

    learning_rate: Any

    def start(self, params):
        return ()

    def rate(self, memory, direction, signals):
        return jnp.float32(self.learning_rate), memory


def is_packed(tx):
    try:
        lrx.pack(tx)
    except ValueError:
        return False
    return True


REFUSED = [
    (lambda: lrx.pack(lrx.lamb(0.1)), "['scale_by_trust_ratio']"),
    (
        lambda: lrx.pack(lrx.adafactor(0.1)),
        "['scale_by_factored_rms', 'clip_by_block_rms', 'scale_by_param_block_rms']",
    ),
    (lambda: lrx.pack(lrx.adamw(0.1, mask=MASK)), "['add_decayed_weights']"),
    (lambda: lrx.pack(lrx.accumulate(lrx.chain(lrx.clip(1.0), lrx.novograd(0.1)), 2)), "['scale_by_novograd']"),
    (lambda: lrx.pack(lrx.masked(lrx.sm3(0.1), MASK)), "['masked', 'scale_by_sm3']"),
    (lambda: lrx.pack(lrx.partition({True: lrx.sgd(0.1), False: lrx.freeze(True)}, MASK)), "['partition', 'freeze']"),
    (lambda: lrx.pack(lrx.with_weight_decay(lrx.sgd(0.1), 0.1, MASK)), "['with_weight_decay']"),
    (lambda: lrx.pack(lrx.cautious(lrx.adam(0.1))), "['cautious']"),
    (lambda: lrx.pack(lrx.chain(lrx.adaptive_grad_clip(0.1), lrx.sgd(0.1))), "['adaptive_grad_clip']"),
    (lambda: lrx.pack(lrx.chain(lrx.sgd(0.1), lrx.layer_wise_decay(0.5, {"w": 0, "b": 1}))), "['layer_wise_decay']"),
    (lambda: lrx.pack(lrx.prodigy(slice_p=2)), "['prodigy']"),
    (lambda: lrx.pack(lrx.mars(0.1)), "['scale_by_mars']"),
    (lambda: lrx.pack(lrx.adam_mini(0.1)), "['scale_by_adam_mini']"),
    (lambda: lrx.pack(lrx.sgd(lrx.dog(per_leaf=True))), "['scale_by_learning_rate']"),
    (lambda: lrx.pack(lrx.sgd(lrx.line_search())), "['scale_by_learning_rate']"),
    (lambda: lrx.pack(lrx.momo(lrx.plateau(lrx.line_search()))), "['momo']"),
    (lambda: lrx.pack(lrx.master_weights(lrx.sgd(0.1), "stochastic")), "['master_weights']"),
    (lambda: lrx.pack(transformation(Typed())), "['typed']"),  # it does not say what it is
    (lambda: lrx.pack(lrx.accumulate(transformation(Typed()), 2), elementwise=True), "['typed']"),
    (lambda: lrx.pack(lrx.sgd(Listener(0.1))), "['scale_by_learning_rate']"),
    (lambda: lrx.pack(lrx.chain(optax.scale_by_trust_ratio(), lrx.sgd(0.1))), "['scale_by_trust_ratio']"),
    (lambda: lrx.pack(lrx.accumulate(optax.lamb(0.1), 2)), "['chain']"),
]


@pytest.mark.parametrize(("call", "rules"), REFUSED, ids=[rules for _, rules in REFUSED])
def test_rules_that_tell_leaves_apart_are_refused_by_name(call, rules):
    told = f"pack(tx=...) must be made of rules that say that they are elementwise, got {rules}. A rule of your own"
    with pytest.raises(ValueError, match=re.escape(told)):
        call()


PACKED = [case for case in CASES + VARIANTS if is_packed(case.build())]


def test_what_is_packed_is_most_of_the_list():
    assert len(PACKED) > 50


@pytest.mark.parametrize("case", PACKED, ids=lambda case: case.name)
def test_what_says_that_it_is_elementwise_is(case):
    """The same parameters after some steps, packed or not, of leaves of several shapes and sizes."""
    params, grads = ({"a": t["a"], "b": t["b"][:2], "c": t["c"][0]} for t in (tree(), tree((4,), 1)))
    extra = {name: jnp.float32(1.0) for name in case.needs}

    def path(tx):
        return by_operations(lambda: scan(tx, params, grads, **extra))()

    ours, alone = path(lrx.pack(case.build())), path(case.build())
    assert distance(ours, alone) < 3e-5 * float(max(jnp.abs(x).max() for x in jax.tree.leaves(alone)))


def test_equinox_887_a_model_is_packed_whole():
    """Where the updates have None the parameters may hold anything, and int arrays have a place in the state."""
    params = {"a": jnp.ones(3), "act": jax.nn.relu, "n": jnp.arange(2), "b": jnp.ones(3), "name": "x"}
    grads = {"a": jnp.ones(3), "act": None, "n": None, "b": jnp.ones(3), "name": None}
    tx = lrx.pack(lrx.adamw(0.1))
    for start in ({**grads, "n": params["n"]}, grads):
        updates, state = tx.update(grads, tx.init(start), params)
        assert same(updates, lrx.adamw(0.1).update(grads, lrx.adamw(0.1).init(grads), params)[0])
        assert avals(state) == avals(tx.init(start))


def test_bad_arguments_are_refused():
    with pytest.raises(TypeError, match=r"pack\(tx=...\) must be a gradient transformation, got 1\."):
        lrx.pack(1)
    with pytest.raises(ValueError, match=r"pack\(max_size=...\) must be positive, got 0\."):
        lrx.pack(lrx.sgd(0.1), max_size=0)
    with pytest.raises(ValueError, match="memory is not shaped like the parameters"):
        optax.tree_map_params(lrx.pack(lrx.adam(0.1)), lambda x: x, lrx.pack(lrx.adam(0.1)).init(PARAMS))
