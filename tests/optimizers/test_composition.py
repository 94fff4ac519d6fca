"""Wrappers and links: what each does to the updates, and that the state stays readable through all of them."""

import functools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrx
from tests.common import GRADS, PARAMS, avals, distance, finite, one_step, random_gradients, same, scan, train
from tests.operations import by_operations
from tests.optimizers.wrappers import JOINED, LABELS, MASK, WRAPPERS

wrapped = pytest.mark.parametrize("wrap", [*WRAPPERS.values(), *JOINED.values()], ids=[*WRAPPERS, *JOINED])
shaped = pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS.keys())
COMPUTING = ["accumulate", "apply_if_finite", "cautious", "lookahead", "partition", "with_weight_decay", "chain"]
computing = pytest.mark.parametrize("wrap", [WRAPPERS[k] for k in COMPUTING], ids=COMPUTING)
INNER = lrx.adamw(lrx.linear_schedule(2e-3, 1e-3, 10))
"""Its rate falls, and compiles fast: each wrapper compiles it anew."""


# ---------------------------------------------------------------- what every wrapper promises


@wrapped
def test_state_is_read_and_edited_through_it_and_nothing_is_traced_again(wrap, traces):
    tx = wrap(INNER)
    step = jax.jit(lambda p, s, g: one_step(tx, p, s, g))
    state = tx.init(PARAMS)
    assert lrx.learning_rate(state) == np.float32(2e-3)
    before = len(lrx.hyperparams(state))
    params, state = step(jax.tree.map(jnp.asarray, PARAMS), state, GRADS)
    first = traces.count
    state = lrx.with_hyperparams(state, learning_rate={"init_value": 0.5, "transition_steps": 20}, b1=0.5)
    for _ in range(3):
        params, state = step(params, state, GRADS)
    assert traces.count == first
    assert step._cache_size() == 1
    count = int(lrx.count(state))
    assert count in (2, 4)
    assert lrx.learning_rate(state) == pytest.approx(0.5 + (1e-3 - 0.5) * (count - 1) / 20)
    assert len(lrx.hyperparams(state)) == before
    assert lrx.hyperparams(state)[next(k for k in lrx.hyperparams(state) if k.endswith(".b1"))] == 0.5


@wrapped
def test_state_is_constant_from_init_on(wrap):
    tx = wrap(INNER)
    state = tx.init(PARAMS)
    assert avals(jax.eval_shape(tx.update, GRADS, state, PARAMS)[1]) == avals(state)
    assert avals(jax.eval_shape(tx.init, PARAMS)) == jax.tree.map(jax.typeof, jax.eval_shape(lambda: state))


@pytest.mark.parametrize("name", [name for name in WRAPPERS if "optax" not in name])  # its chain compares by identity
def test_equal_wrappers_are_equal_and_other_numbers_are_not(name):
    wrap = WRAPPERS[name]
    tx, other = wrap(INNER), wrap(lrx.adamw(lrx.linear_schedule(3e-3, 1e-3, 10)))
    assert tx == wrap(INNER)
    assert hash(tx) == hash(wrap(INNER))
    assert tx != other
    assert tx.update != other.update
    assert pickle.loads(pickle.dumps(wrap(lrx.sgd(0.1)))).init(PARAMS) is not None


@computing
def test_vmap_over_the_rate_is_the_loop(wrap):
    grads = random_gradients(4)
    rates = jnp.array([1e-3, 1e-1])
    swept = by_operations(jax.vmap(lambda rate: scan(wrap(lrx.adam(rate)), PARAMS, grads)))(rates)
    alone = by_operations(lambda: [scan(wrap(lrx.adam(float(rate))), PARAMS, grads) for rate in (1e-3, 1e-1)])()
    for i in range(2):
        assert distance(jax.tree.map(lambda x, i=i: x[i], swept), alone[i]) < 1e-6


@computing
def test_gradient_with_respect_to_the_rate(wrap):
    grads = random_gradients(4)

    def loss(rate):
        return sum(jnp.sum(x[-1] ** 2) for x in jax.tree.leaves(scan(wrap(lrx.sgd(rate, momentum=0.9)), PARAMS, grads)))

    low, high, slope = by_operations(lambda a, x, b: (loss(a), loss(b), jax.grad(loss)(x)))(
        *map(jnp.float32, (0.009, 0.01, 0.011))
    )
    assert float(slope) == pytest.approx(float((high - low) / 0.002), rel=5e-2)


@wrapped
def test_mixed_precision_donation_and_empty_trees(wrap):
    params = {"w": jnp.ones((2, 3), jnp.bfloat16), "b": jnp.ones(3, jnp.float16)}
    tx = wrap(INNER)
    step = jax.jit(lambda p, s: one_step(tx, p, s, jax.tree.map(lambda x: x * 0.3, params)), donate_argnums=1)
    state = tx.init(params)
    with jax.debug_nans(True):
        after, state = step(params, state)
        assert avals(after) == avals(params)
        assert finite(step(after, state))
    with jax.numpy_dtype_promotion("strict"):
        jax.eval_shape(lambda: one_step(tx, PARAMS, tx.init(PARAMS), GRADS))


@wrapped
def test_resume_through_it(wrap):
    """Constant to scheduled and back."""
    grads = random_gradients(4)
    constant, scheduled = wrap(lrx.adam(1e-3)), wrap(lrx.adam(lrx.linear_schedule(1.0, 0.0, 8)))
    _, state = train_from(constant, constant.init(PARAMS), grads)
    resumed = lrx.resume(scheduled, PARAMS, state)
    assert lrx.count(resumed) == lrx.count(state)
    _, after = train_from(scheduled, resumed, grads)
    done = int(lrx.count(after))
    assert lrx.learning_rate(after) == pytest.approx(1 - (done - 1) / 8)
    back = lrx.resume(constant, PARAMS, after)
    assert lrx.count(back) == done
    assert lrx.learning_rate(back) == np.float32(1e-3)


def train_from(tx, state, grads):
    def body(carry, g):
        return one_step(tx, *carry, g), None

    return by_operations(lambda carry: jax.lax.scan(body, carry, grads)[0])((PARAMS, state))


@shaped
def test_tree_map_params_of_optax(wrap):
    tx = wrap(lrx.sgd(0.1, momentum=0.9))
    state = tx.init(PARAMS)
    is_leaf = lambda x: isinstance(x, optax.MaskedNode)  # noqa: E731
    mapped = optax.tree_map_params(tx, lambda x: x if is_leaf(x) else x + 1, state, is_leaf=is_leaf)
    assert same(lrx.hyperparams(mapped), lrx.hyperparams(state))
    assert lrx.count(mapped) == 0


# ---------------------------------------------------------------- masks, groups, freezing


def test_masked_is_that_of_optax():
    grads = random_gradients(5)
    ours, theirs = (scan(m.masked(lrx.adam(0.1), MASK), PARAMS, grads) for m in (lrx, optax))
    assert same(ours, theirs)
    by_function = scan(lrx.masked(lrx.adam(0.1), lambda p: jax.tree.map(lambda x: x.ndim > 1, p)), PARAMS, grads)
    assert same(by_function, theirs)


def test_named_chain_is_that_of_optax():
    made = (m.named_chain(("clip", m.clip(0.5)), ("step", m.sgd(0.1, 0.9))) for m in (lrx, optax))
    ours, theirs = (scan(tx, PARAMS, random_gradients(4)) for tx in made)
    assert distance(ours, theirs) < 1e-6


def test_partition_is_that_of_optax():
    grads = random_gradients(5)
    groups = {"body": lrx.adamw(0.1), "head": lrx.sgd(lrx.linear_schedule(1.0, 0.0, 4))}
    ours, theirs = (scan(m.partition(groups, LABELS), PARAMS, grads) for m in (lrx, optax))
    assert same(ours, theirs)
    _, state = train(lrx.partition(groups, lambda p: LABELS), steps=2)
    rates = lrx.learning_rates(state)
    assert {k: round(float(v), 6) for k, v in rates.items()} == {
        "body.scale_by_learning_rate.learning_rate": 0.1,
        "head.scale_by_learning_rate.learning_rate": 0.75,
    }
    with pytest.raises(ValueError, match="holds 2 rates: body"):
        lrx.learning_rate(state)
    edited = lrx.with_hyperparams(state, **{"body.scale_by_learning_rate.learning_rate": 0.5})
    assert lrx.learning_rates(edited)["body.scale_by_learning_rate.learning_rate"] == 0.5
    with pytest.raises(ValueError, match=r"is the name of 2 hyperparameters: body\.scale.*head"):
        lrx.with_hyperparams(state, learning_rate=0.5)


def test_partition_names_the_labels_that_have_no_transformation():
    tx = lrx.partition({"body": lrx.sgd(0.1)}, LABELS)
    with pytest.raises(ValueError, match=r"got the labels \['head'\]; there are transforms for \['body'\]"):
        tx.init(PARAMS)


def test_optax_477_a_frozen_group_keeps_no_memory_and_costs_no_gradient():
    """Also optax#290, #993: inside one jit XLA does not compute what nothing uses."""
    params = {"body": jnp.ones((64, 64)), "head": jnp.ones((64, 64))}
    tx = lrx.partition({"head": lrx.adam(0.1), "body": lrx.freeze(True)}, {"body": "body", "head": "head"})
    state = tx.init(params)
    assert sum(x.size for x in jax.tree.leaves(state)) < 2 * 64 * 64 + 20

    def flops(loss):
        def step(params, state):
            return one_step(tx, params, state, jax.grad(loss)(params))

        return jax.jit(step).lower(params, state).compile().cost_analysis()["flops"]

    def loss(params, stop=lambda x: x):
        return jnp.sum((stop(params["body"]) @ params["head"]) ** 2)

    assert flops(loss) == flops(lambda p: loss(p, jax.lax.stop_gradient))


def test_optax_1371_part_of_a_partition_is_initialised_anew():
    """A group's state is a subtree under its label: it can be replaced, and nothing else moves."""
    groups = {"body": lrx.adam(0.1), "head": lrx.adam(0.2)}
    tx = lrx.partition(groups, LABELS)
    params, state = train(tx, steps=3)
    groups = {**state.memory.inner_states, "head": tx.init(params).memory.inner_states["head"]}
    state = state._replace(memory=state.memory._replace(inner_states=groups))
    _, state = tx.update(GRADS, state, params)
    counts = {k: int(s["scale_by_adam"].memory.count) for k, s in state.memory.inner_states.items()}
    assert counts == {"body": 4, "head": 1}


def test_by_path_labels_by_the_first_pattern_that_is_found():
    tree = {"enc": {"block_0": {"w": 1.0, "bias": 1.0}, "block_1": {"w": 1.0}}, "head": 1.0}
    depths = lrx.by_path({r"block_(\d+)": lambda m: int(m[1]), "head": 2})(tree)
    assert depths == {"enc": {"block_0": {"w": 0, "bias": 0}, "block_1": {"w": 1}}, "head": 2}
    assert lrx.adamw(0.1, mask=lrx.by_path({"bias": False, "": True})) == lrx.adamw(
        0.1, mask=lrx.by_path({"bias": False, "": True})
    )
    with pytest.raises(ValueError, match=r"no pattern for the parameter 'head'"):
        lrx.by_path({"enc": 0})(tree)


def test_timm_2532_layer_decay_acts_in_the_update():
    """timm's rule: max(min_scale, decay^(last − depth)), whatever sets the rate, also on the decoupled decay."""
    params = {f"layer_{i}": jnp.ones(2) for i in range(4)}
    depths = lrx.by_path({r"layer_(\d)": lambda m: int(m[1])})
    tx = lrx.chain(lrx.adamw(0.1, weight_decay=0.5), lrx.layer_wise_decay(0.5, depths, min_scale=0.2))
    updates, _ = tx.update(params, tx.init(params), params)
    for i, scale in enumerate([0.2, 0.25, 0.5, 1.0]):
        np.testing.assert_allclose(updates[f"layer_{i}"], -0.1 * 1.5 * scale, rtol=1e-6)


def test_multipliers_by_name_are_the_learning_rates_of_groups():
    """As torch's parameter groups: each leaf as with its own rate, decay included; the rate read back is the base."""
    grads = random_gradients(4)
    rules = lrx.by_path({"^b$": 2.5, "": 0})
    for multipliers, of_w in ((rules, 0.0), ({"w": 3, "b": 2.5}, 0.3)):
        tx = lrx.chain(lrx.adamw(0.1, weight_decay=0.5), lrx.by_multiplier(multipliers))
        ours = scan(tx, PARAMS, grads)
        groups = {"body": lrx.adamw(of_w, weight_decay=0.5), "head": lrx.adamw(0.25, weight_decay=0.5)}
        assert distance(ours, scan(lrx.partition(groups, LABELS), PARAMS, grads)) < 1e-6
        assert lrx.learning_rate(tx.init(PARAMS)) == np.float32(0.1)
    assert lrx.by_multiplier(rules) == lrx.by_multiplier(lrx.by_path({"^b$": 2.5, "": 0}))
    with pytest.raises(ValueError, match=r"by_multiplier\(multipliers=...\) must be finite and not negative, got"):
        lrx.by_multiplier({"w": -1.0, "b": 1.0})
    with pytest.raises(TypeError, match=r"by_multiplier\(multipliers=...\) must be a tree of numbers or a function"):
        lrx.by_multiplier({"w": "1", "b": True})


# ---------------------------------------------------------------- non-finite updates


def test_apply_if_finite_is_that_of_optax():
    grads = random_gradients(9)
    for i in (1, 2, 5, 6, 7):
        grads["b"][i, 0] = np.nan
    ours, theirs = (scan(m.apply_if_finite(lrx.sgd(0.1), 2), PARAMS, grads) for m in (lrx, optax))
    assert jax.tree.all(jax.tree.map(lambda a, b: np.array_equal(a, b, equal_nan=True), ours, theirs))
    assert not finite(ours)  # the third in a row was let through


# ---------------------------------------------------------------- averages and slow parameters


def test_params_ema_is_the_weighted_mean():
    grads = random_gradients(6)
    tx = lrx.chain(lrx.sgd(0.5), lrx.params_ema(0.8))
    path = scan(tx, PARAMS, grads)["w"]
    _, state = train_from(tx, tx.init(PARAMS), grads)
    weights = 0.8 ** np.arange(5, -1, -1.0)
    expected = np.tensordot(weights / weights.sum(), np.asarray(path[1:], np.float64), 1)
    np.testing.assert_allclose(lrx.eval_params(state, PARAMS)["w"], expected, rtol=1e-5)


def test_a_mean_whose_decay_is_a_schedule():
    """The plain mean; no update has a weight while the decay is 1; a constant is the constant; numbers in the state."""
    grads = random_gradients(6)

    def averages(decay, debias=True):
        tx = lrx.chain(lrx.sgd(0.5), lrx.params_ema(decay, debias=debias))
        _, state = train_from(tx, tx.init(PARAMS), grads)
        updates = scan(lrx.chain(lrx.ema(decay, debias=debias)), PARAMS, grads)
        return lrx.eval_params(state, PARAMS), updates

    path = scan(lrx.sgd(0.5), PARAMS, grads)
    means, updates = averages(lambda t: 1 - 1 / (t + 1))
    assert distance(means, jax.tree.map(lambda p: p[1:].mean(0), path)) < 1e-6
    running = jax.tree.map(lambda g: np.cumsum(g, 0) / np.arange(1, 7).reshape(-1, *[1] * (g.ndim - 1)), grads)
    assert distance(jax.tree.map(lambda u: np.diff(u, axis=0), updates), running) < 1e-6
    late, updates = averages(lrx.piecewise_value_schedule([2], [1.0, 0.0]))
    assert distance(late, jax.tree.map(lambda p: p[-1], path)) == 0
    assert distance(jax.tree.map(lambda u: u[:3], updates), jax.tree.map(lambda p: np.stack([p] * 3), PARAMS)) == 0
    for debias in (True, False):
        constant, same_one = averages(0.75, debias), averages(lrx.constant_schedule(0.75), debias)
        assert distance(constant, same_one) < 1e-6
    state = lrx.params_ema(lrx.linear_schedule(0.9, 0.99, 10)).init(PARAMS)
    state = lrx.with_hyperparams(state, decay={"end_value": 0.999})
    assert lrx.hyperparams(state)["decay.end_value"] == np.float32(0.999)


def test_eval_params_says_what_is_missing():
    with pytest.raises(ValueError, match=r"no averaged parameters. One rule that keeps them is needed"):
        lrx.eval_params(lrx.adam(0.1).init(PARAMS), PARAMS)
    twice = lrx.chain(lrx.sgd(0.1), lrx.params_ema(0.9), lrx.params_ema(0.5))
    with pytest.raises(ValueError, match="several averages: params_ema, params_ema_2"):
        lrx.eval_params(twice.init(PARAMS), PARAMS)


def test_eval_params_under_a_mask_and_in_low_precision():
    params = {"w": jnp.ones((2, 3), jnp.bfloat16), "b": jnp.ones(3)}
    state = lrx.masked(lrx.params_ema(0.9), MASK).init(params)
    assert state.memory.inner_state.memory.averaged["w"].dtype == jnp.float32
    assert avals(lrx.eval_params(state, params)) == avals(params)


def test_lookahead_of_pairs_is_that_of_optax():
    grads = random_gradients(7)
    pair = optax.LookaheadParams.init_synced(jax.tree.map(jnp.asarray, PARAMS))

    def run(library):
        tx = library.lookahead(lrx.adam(0.1), 3, 0.5, reset_state=True)

        def body(carry, g):
            params, state = carry
            updates, state = tx.update(g, state, params)
            params = optax.apply_updates(params, updates)
            return (params, state), params

        return jax.lax.scan(body, (pair, tx.init(pair)), grads)[1]

    ours, theirs = run(lrx), run(optax)
    assert distance(ours, theirs) < 1e-6
    tx = lrx.lookahead(lrx.adam(0.1), 3, 0.5, reset_state=True)
    plain, state = train_from(tx, tx.init(PARAMS), grads)
    assert distance(plain, jax.tree.map(lambda x: x[-1], ours.fast)) < 1e-6
    assert distance(lrx.eval_params(state, plain), jax.tree.map(lambda x: x[-1], ours.slow)) < 1e-6


# ---------------------------------------------------------------- clipping


CLIPPED = ["clip", "clip_by_block_rms", "clip_by_global_norm", "adaptive_grad_clip"]


@functools.cache
def clipped():
    """Gradients, and as each library and each name clips them, from one program."""
    shapes = {"scalar": (), "vector": (5,), "dense": (4, 3), "heads": (4, 2, 3), "conv": (3, 3, 2, 4), "empty": (0, 2)}
    rng = np.random.default_rng(3)
    params = {k: rng.normal(size=s).astype(np.float32) for k, s in shapes.items()}
    grads = {k: (10 * rng.normal(size=s)).astype(np.float32) for k, s in shapes.items()}
    txs = {(m.__name__, name): getattr(m, name)(0.7) for m in (lrx, optax) for name in CLIPPED}
    run = jax.jit(lambda grads, params: {k: tx.update(grads, tx.init(params), params)[0] for k, tx in txs.items()})
    return grads, run(grads, params)


@pytest.mark.parametrize("name", CLIPPED)
def test_clipping_is_that_of_optax(name):
    grads, found = clipped()
    ours, theirs = found["lrx", name], found["optax", name]
    assert distance(ours, {**theirs, "empty": grads["empty"]}) < 1e-5
    assert distance(ours, grads) > 1


# ---------------------------------------------------------------- refused

REFUSED = [
    (lambda: lrx.accumulate(lrx.sgd(1.0), 0), ValueError, "accumulate(every=...) must be positive, got 0."),
    (lambda: lrx.accumulate(1, 2), TypeError, "accumulate(tx=...) must be a gradient transformation, got 1."),
    (lambda: lrx.masked(lrx.sgd(1.0), 3), TypeError, "masked(mask=...) must be a tree of bools or a function"),
    (lambda: lrx.partition({"a": 1}, "a"), TypeError, "partition(transforms['a']=...) must be a gradient transf"),
    (lambda: lrx.partition({1: lrx.sgd(1.0), "1": lrx.sgd(1.0)}, 1), ValueError, "needs labels that differ as strings"),
    (lambda: lrx.named_chain(lrx.sgd(1.0)), TypeError, "named_chain(...) takes pairs (name, transformation)"),
    (lambda: lrx.named_chain(*[("a", lrx.sgd(1.0))] * 2), ValueError, "named_chain(...) needs names that differ"),
    (lambda: lrx.lookahead(lrx.sgd(1.0), 0, 0.5), ValueError, "lookahead(sync_period=...) must be positive, got 0."),
    (lambda: lrx.cautious(lrx.sgd(1.0), min_share=0), ValueError, "cautious(min_share=...) must be positive, got 0."),
    (lambda: lrx.params_ema(1.0), ValueError, "params_ema(decay=...) must be in [0, 1) in float32, got 1.0."),
    (
        lambda: lrx.with_weight_decay(lrx.sgd(1.0), 0.1, law="squared"),
        ValueError,
        'with_weight_decay(max_learning_rate=...) must be given for the law "squared" and for no other, got None.',
    ),
    (lambda: lrx.layer_wise_decay(0.5, {"w": 0.5}), TypeError, "layer_wise_decay(depths=...) must be a tree of whole"),
    (lambda: lrx.by_path({"(": 1}), ValueError, "by_path(patterns=...) must be regular expressions"),
    (lambda: lrx.clip(0), ValueError, "clip(max_delta=...) must be positive, got 0."),
    (lambda: lrx.apply_if_finite(lrx.sgd(1.0), -1), ValueError, "must not be negative, got -1."),
]


@pytest.mark.parametrize(("call", "kind", "message"), REFUSED, ids=[r[2][:60] for r in REFUSED])
def test_bad_input_is_refused(call, kind, message):
    with pytest.raises(kind) as error:
        call()
    assert message in str(error.value)
