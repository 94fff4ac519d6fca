"""L-BFGS and line searches in optax's documented loop, with lrx in place of optax."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrx
from tests.common import avals, finite

START = {"w": jnp.linspace(-1.5, 1.5, 6).reshape(2, 3), "b": jnp.array([0.5, -0.5])}
STEPS = 1000


def flat(params):
    return jnp.concatenate([params["w"].ravel(), params["b"].ravel()])


def valley(params):
    """Rosenbrock's function of eight variables."""
    x = flat(params)
    return jnp.sum(10.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


SOLVERS = {  # of either library
    "lbfgs": lambda m: m.lbfgs(),
    "lbfgs_short": lambda m: m.lbfgs(memory_size=2, scale_init_precond=False),
    "lbfgs_rate": lambda m: m.lbfgs(0.1, memory_size=3, linesearch=None),
    "lbfgs_backtracking": lambda m: m.lbfgs(linesearch=m.scale_by_backtracking_linesearch(20, store_grad=True)),
    "zoom": lambda m: m.chain(m.sgd(1.0), m.scale_by_zoom_linesearch(15, max_learning_rate=2.0, tol=1e-6)),
    "zoom_one": lambda m: m.chain(
        m.sgd(0.1),
        m.scale_by_zoom_linesearch(9, approx_dec_rtol=None, curv_rtol=0.1, initial_guess_strategy="one"),
    ),
    "backtracking": lambda m: m.chain(
        m.sgd(1.0), m.scale_by_backtracking_linesearch(30, 0.1, 0.5, jnp.inf, 0.9, store_grad=True)
    ),
}


def run(tx, value_and_grad, steps=STEPS, loss=valley, params=START):
    """The paths of the parameters and of the states' losses."""

    def step(carry, _):
        params, state = carry
        value, grad = value_and_grad(params, state=state)
        updates, state = tx.update(grad, state, params, value=value, grad=grad, value_fn=loss)
        params = optax.apply_updates(params, updates)
        return (params, state), (flat(params), value)

    return jax.lax.scan(step, (params, tx.init(params)), None, length=steps)


@pytest.fixture(scope="module")
def paths():
    def plainly(params, state):
        return jax.value_and_grad(valley)(params)

    def both(name):
        stored = name != "lbfgs_rate"
        return [
            run(SOLVERS[name](m), m.value_and_grad_from_state(valley) if stored else plainly)[1] for m in (lrx, optax)
        ]

    return jax.device_get(jax.jit(lambda: {name: both(name) for name in SOLVERS})())


@pytest.mark.parametrize("name", SOLVERS)
def test_a_thousand_steps_are_those_of_optax(name, paths):
    (ours, our_losses), (theirs, losses) = paths[name]
    assert losses[0] > 10
    assert losses[-1] < 0.5 * losses[0]
    went = np.abs(theirs - theirs[0]).max()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=5e-5 * went)
    np.testing.assert_allclose(our_losses, losses, rtol=1e-3, atol=1e-6)


def test_a_restarted_loop_finds_the_loss_and_the_gradient_of_the_state():
    """By optax's function too; lrx's takes a loss of another dtype than the state's."""
    tx = lrx.lbfgs()
    (params, state), _ = jax.jit(lambda: run(tx, lrx.value_and_grad_from_state(valley), 5))()
    expected = jax.value_and_grad(valley)(params)
    for find in (lrx.value_and_grad_from_state(valley), optax.value_and_grad_from_state(valley)):
        for x, y in zip(jax.tree.leaves(find(params, state=state)), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)
    half = lrx.value_and_grad_from_state(lambda p: valley(p).astype(jnp.bfloat16))
    assert half(START, state=tx.init(START))[0].dtype == jnp.float32


@pytest.mark.parametrize("tx", [lrx.sgd(0.1), lrx.chain(lrx.sgd(0.1), lrx.scale_by_backtracking_linesearch(3))])
def test_a_state_without_a_gradient_is_refused(tx):
    with pytest.raises(ValueError, match="store_grad=True"):
        lrx.value_and_grad_from_state(valley)(START, state=tx.init(START))


def square(params, x=1.0):
    return x * sum(jnp.sum(p.astype(jnp.float32) ** 2) for p in jax.tree.leaves(params))


def test_numbers_of_a_search_are_in_the_state_and_may_be_schedules():
    rising = lrx.linear_schedule(0.125, 0.25, 1)
    tx = lrx.chain(lrx.scale(-1.0), lrx.scale_by_backtracking_linesearch(9, max_learning_rate=rising))
    params = jnp.ones(2)
    update = jax.jit(lambda state: tx.update(2 * params, state, params, value=2.0, value_fn=square))
    state = tx.init(params)
    assert lrx.learning_rate(state) == 1.0
    for expected in (0.125, 0.1875):  # 1.5 · 0.125 is less than the bound of the second update
        _, state = update(state)
        assert lrx.learning_rate(state) == expected
    edited = lrx.with_hyperparams(state, increase_factor=1.0, max_learning_rate={"end_value": 0.0625})
    assert lrx.learning_rate(update(edited)[1]) == 0.0625
    assert update._cache_size() == 1
    with pytest.raises(ValueError, match="must be in"):
        lrx.with_hyperparams(state, decrease_factor=2.0)


def test_further_arguments_of_the_loss_are_given_by_name():
    tx = lrx.lbfgs()
    params = jnp.ones(2)
    given = {"value": 4.0, "value_fn": square, "x": 2.0}
    updates, state = tx.update(4 * params, tx.init(params), params, **given)
    after = lrx.apply_updates(params, updates)
    assert state["scale_by_zoom_linesearch"].value == pytest.approx(float(square(after, 2.0)))
    for name in ("value", "value_fn"):
        with pytest.raises(ValueError, match=f"scale_by_zoom_linesearch.* needs {name}="):
            tx.update(4 * params, tx.init(params), params, **{k: v for k, v in given.items() if k != name})
    with pytest.raises(TypeError, match=r"scale_by_zoom_linesearch\(\) got y=, which value_fn does not take: it has x"):
        tx.update(4 * params, tx.init(params), params, **given, y=3.0)
    with pytest.raises(ValueError, match="outside masked"):
        masked = lrx.masked(tx, {"a": True, "b": False})
        params = {"a": params, "b": params}
        masked.update(params, masked.init(params), params, **given)


def test_what_is_not_finite_is_skipped_and_the_search_goes_on_after_it():
    for tx in (lrx.lbfgs(), lrx.lbfgs(linesearch=lrx.scale_by_backtracking_linesearch(9))):
        params = {"w": jnp.ones(2)}
        update = jax.jit(lambda g, v, s, tx=tx, p=params: tx.update(g, s, p, value=v, value_fn=square))
        _, fresh = update({"w": 2 * params["w"]}, 2.0, tx.init(params))
        bad = {"w": jnp.array([jnp.nan, 1.0])}
        for grads, value in ((bad, 2.0), ({"w": 2 * params["w"]}, jnp.inf)):
            updates, state = update(grads, value, fresh)
            assert not np.any(updates["w"])
            assert lrx.learning_rate(state) == 0
            assert lrx.count(state) == 2
            search = next(state[name] for name in state if "linesearch" in name)
            assert search.skipped == 1
            assert search.value == next(fresh[name] for name in state if "linesearch" in name).value
            updates, state = update({"w": 2 * params["w"]}, 2.0, state)
            assert np.all(updates["w"] < 0)
            assert lrx.learning_rate(state) > 0


def test_mixed_precision_integers_and_leaves_that_are_none():
    params = {"w": jnp.ones(3, jnp.bfloat16), "n": None, "i": jnp.arange(2), "z": jnp.ones(2, jnp.complex64)}
    grads = {"w": 2 * params["w"], "n": None, "i": np.zeros(2, jax.dtypes.float0), "z": 2 * params["z"]}

    def loss(params):
        assert [params[k].dtype for k in "wiz"] == [jnp.bfloat16, jnp.int32, jnp.complex64]
        return jnp.sum(params["w"].astype(jnp.float32) ** 2) + jnp.sum(jnp.abs(params["z"]) ** 2)

    backtracking = lrx.scale_by_backtracking_linesearch(5)
    for tx in (lrx.lbfgs(), lrx.lbfgs(linesearch=backtracking), lrx.lbfgs(0.1, linesearch=None)):
        state = tx.init(params)
        updates, after = tx.update(grads, state, params, value=loss(params), value_fn=loss)
        assert avals(after) == avals(state)
        assert avals({k: updates[k] for k in "wz"}) == avals({k: params[k] for k in "wz"})
        assert finite({k: updates[k] for k in "wz"})
        assert updates["w"][0] < 0
        assert updates["n"] is None
        # differences in bfloat16 would be rounding
        assert {x.dtype.name for x in jax.tree.leaves(after["scale_by_lbfgs"].memory.updates)} == {
            *("float32", "int32", "complex64")
        }


def test_searches_are_values():
    def make(factor):
        return lrx.lbfgs(linesearch=lrx.scale_by_zoom_linesearch(7, increase_factor=factor, approx_dec_rtol=None))

    assert make(2.0) == make(2.0)
    assert make(2.0).update == pickle.loads(pickle.dumps(make(2.0))).update
    assert make(2.0) != make(3.0)
    assert lrx.lbfgs() == lrx.lbfgs()
    assert "scale_by_zoom_linesearch(max_linesearch_steps=20" in repr(lrx.lbfgs())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: lrx.lbfgs(memory_size=0), r"lbfgs\(memory_size=...\) must be positive"),
        (lambda: lrx.scale_by_zoom_linesearch(0), r"\(max_linesearch_steps=...\) must be positive"),
        (lambda: lrx.scale_by_zoom_linesearch(5, initial_guess_strategy="two"), "must be one of 'keep', 'one'"),
        (lambda: lrx.scale_by_backtracking_linesearch(5, decrease_factor=1.0), r"\(decrease_factor=...\) must be in"),
        (lambda: lrx.scale_by_backtracking_linesearch(5, increase_factor=0.5), "must not be less than 1"),
    ],
)
def test_numbers_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
