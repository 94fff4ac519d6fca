"""Numbers that could be taken for something and are not: errors, or a NaN that shows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrx

PARAMS, GRADS = jnp.ones(2), jnp.array([1.0, -2.0])


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), np.float32("nan"), -1.0])
def test_a_weight_that_is_no_weight_is_refused(weight):
    tx = lrx.accumulate(lrx.sgd(0.1), 2)
    with pytest.raises(ValueError, match=r"update\(weight=...\) must be finite and not negative, got"):
        tx.update(GRADS, tx.init(PARAMS), PARAMS, weight=weight)


def test_a_traced_weight_that_is_not_finite_is_skipped_and_counted():
    tx = lrx.accumulate(lrx.sgd(0.5), 2)
    state = tx.init(PARAMS)
    _, state = tx.update(GRADS, state, PARAMS, weight=jnp.float32(jnp.nan))
    updates, state = tx.update(GRADS, state, PARAMS, weight=jnp.float32(2.0))
    assert state.skipped == 1
    np.testing.assert_array_equal(updates, -0.5 * GRADS)


@pytest.mark.parametrize("factory", [lrx.params_ema, lrx.ema])
@pytest.mark.parametrize(
    ("schedule", "count"),
    [(lrx.linear_schedule(0.5, 1.5, 10), 10), (lrx.constant_schedule(-0.25), 0), (lambda count: 2.0 + count, 0)],
)
def test_a_decay_beyond_one_is_refused_where_the_schedule_says_so(factory, schedule, count):
    with pytest.raises(ValueError, match=rf"decay=...\) must be in \[0, 1\] at every count, and is .* at {count}, got"):
        factory(schedule)


def test_a_decay_that_leaves_its_range_later_shows_as_nan():
    tx = lrx.chain(lrx.sgd(0.1), lrx.params_ema(lambda count: 0.5 * (1 + count)))
    state, seen = tx.init(PARAMS), []
    for _ in range(3):  # 0.5, 1 and 1.5
        _, state = tx.update(GRADS, state, PARAMS)
        seen.append(bool(jnp.isfinite(lrx.eval_params(state, PARAMS)).all()))
    assert seen == [True, True, False]


def test_a_share_of_nothing_is_refused():
    with pytest.raises(ValueError, match=r"share\(of=...\) must be positive, got 0"):
        lrx.share(0.1, of=0)


def test_a_memory_made_by_hand_is_a_state():
    tx = lrx.reduce_on_plateau(factor=0.5, patience=1)
    memory = tx.init(PARAMS).memory._replace(scale=jnp.float32(0.25))
    updates, state = jax.jit(tx.update)(GRADS, memory, PARAMS, value=1.0)
    np.testing.assert_array_equal(updates, 0.25 * GRADS)
    assert jax.tree.structure(state) == jax.tree.structure(tx.init(PARAMS))
    with pytest.raises(ValueError, match="belongs to another optimizer"):
        lrx.sgd(0.1).update(GRADS, memory, PARAMS, value=1.0)
