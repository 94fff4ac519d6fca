"""Controllers and rate-free optimizers inside and around everything else."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrx
from tests.common import same

PARAMS = {"w": jnp.array([2.0, -1.0]), "b": jnp.array([1.0, 3.0, 4.0])}
GRADS = jax.tree.map(lambda p: 0.5 * p, PARAMS)
NAN = {**GRADS, "w": jnp.array([1.0, jnp.nan])}


def square(params):
    return sum(jnp.sum(p**2) for p in jax.tree.leaves(params))


def steps(tx, *gradients, params=PARAMS, **extra):
    """Parameters and state after an update with each gradient."""
    state = tx.init(params)
    for grads in gradients:
        updates, state = tx.update(grads, state, params, **extra)
        params = lrx.apply_updates(params, updates)
    return params, state


# ---------------------------------------------------------------- the state

DONATED = {
    "plateau": lrx.adam(lrx.plateau(lrx.polyak(1.0))),
    "reported": lrx.adam(lrx.plateau(1.0, metric="reported")),
    "l_dog": lrx.sgd(lrx.dog(per_leaf=True)),
    "hypergradient_per_leaf": lrx.sgd(lrx.hypergradient(0.1, hyper_learning_rate=0.1, per_leaf=True)),
    "curvature_cap": lrx.sgd(lrx.curvature_cap(0.1)),
    "schedule_free": lrx.schedule_free_adamw(),
    "prodigy": lrx.prodigy(lrx.plateau(1.0), slice_p=2),
    "mechanize": lrx.mechanize(lrx.momo()),
    "hdm": lrx.hdm(),
}


@pytest.mark.parametrize("name", DONATED)
def test_a_state_can_be_donated_from_the_first_update_on_and_after_an_eager_one(name):
    tx = DONATED[name]
    step = jax.jit(lambda state, params: tx.update(GRADS, state, params, value=1.0)[1], donate_argnums=0)
    for state in (tx.init(PARAMS), steps(tx, GRADS, value=1.0)[1]):
        step(step(state, PARAMS), PARAMS)
    assert PARAMS["w"].tolist() == [2.0, -1.0]  # no buffer of theirs went with it


@pytest.mark.parametrize("make", [lrx.polyak, lrx.plateau, lrx.dog, lambda r: lrx.dowg(1.0, init_distance=r)])
def test_an_eager_vmap_copies_the_callers_rates(make):
    rates = jnp.array([0.1, 0.2])
    state = jax.vmap(lambda rate: lrx.sgd(make(rate)).init(PARAMS))(rates)
    jax.jit(lambda state: jax.tree.map(lambda x: x + 1, state), donate_argnums=0)(state)
    assert rates.tolist() == pytest.approx([0.1, 0.2])


def test_eval_params_through_an_accumulation_and_of_a_batch_of_states():
    tx = lrx.accumulate(lrx.schedule_free_sgd(0.1), every=2)
    params, state = steps(tx, *[GRADS] * 4)
    assert not same(lrx.eval_params(state, params), params)
    with pytest.raises(ValueError, match="no averaged parameters"):
        lrx.eval_params(lrx.accumulate(lrx.sgd(0.1), every=2).init(PARAMS), PARAMS)

    def run(b1):
        return steps(lrx.schedule_free_sgd(0.1, b1=b1), *[jnp.ones((3, 3))] * 3, params=jnp.zeros((3, 3)))

    shares = jnp.array([0.5, 0.9, 0.95])
    batch = jax.jit(jax.vmap(run))(shares)
    together = lrx.eval_params(batch[1], batch[0])
    one_by_one = jax.vmap(lambda p, s: lrx.eval_params(s, p))(*batch)
    np.testing.assert_allclose(together, one_by_one, rtol=1e-6)


def test_a_skipped_gradient_leaves_one_count():
    _, state = steps(lrx.mechanize(lrx.adam(1.0)), NAN, GRADS)
    assert lrx.count(state) == 2


def test_a_nan_outside_the_slice_is_seen():
    _, state = steps(lrx.prodigy(slice_p=2), NAN, GRADS)
    assert state.memory.skipped == 1
    assert not any(bool(jnp.isnan(x).any()) for x in jax.tree.leaves(state.memory))


def test_a_run_goes_on_under_a_controller_and_without_it():
    constant, controlled = lrx.adam(0.1), lrx.adam(lrx.plateau(0.1, patience=3))
    for old, new in ((constant, controlled), (controlled, constant)):
        _, state = steps(old, GRADS, GRADS, value=1.0)
        resumed = lrx.resume(new, PARAMS, state)
        assert lrx.count(resumed) == 2
        new.update(GRADS, resumed, PARAMS, value=1.0)


def test_lookahead_starts_the_memory_anew_and_the_count_not():
    for tx in (lrx.sgd(0.1), lrx.prodigy(estim_lr0=0.1), lrx.dadapt_adamw(estim_lr0=0.1), lrx.momo_adam(0.1)):
        fresh = tx.update(GRADS, tx.init(PARAMS), PARAMS, value=100.0)[0]
        synced = lrx.lookahead(tx, sync_period=1, slow_step_size=1e-6, reset_state=True)
        _, state = synced.update(GRADS, synced.init(PARAMS), PARAMS, value=100.0)
        again = tx.update(GRADS, state.memory.fast_state, PARAMS, value=100.0)[0]
        np.testing.assert_allclose(again["b"], fresh["b"], rtol=1e-5)
        assert lrx.count(state) == 1
        assert lrx.count(state) == 1


# ---------------------------------------------------------------- arguments


def test_arguments_of_the_loss_may_have_any_name():
    def loss(params, rate, count, memory, direction):
        return rate * count * memory * direction * square(params)

    extra = dict(rate=1.0, count=1.0, memory=1.0, direction=1.0)
    tx = lrx.sgd(lrx.line_search(1.0))
    _, state = steps(tx, jax.tree.map(lambda p: 2 * p, PARAMS), value=square(PARAMS), value_fn=loss, **extra)
    assert 0 < lrx.learning_rate(state) < 1
    steps(lrx.sgd(lrx.plateau(1.0)), GRADS, value=1.0, **extra)


def test_momo_and_a_bare_link_have_a_gradient_of_their_own():
    _, state = steps(lrx.momo(lrx.polyak(1.0)), GRADS, value=1.0)
    assert 0 < lrx.learning_rate(state) <= 1


def test_a_warmup_of_a_schedule_multiplies_and_one_of_a_controller_is_refused():
    tx = lrx.schedule_free_sgd(lrx.linear_schedule(1.0, 0.0, 10), warmup_steps=5)
    assert lrx.learning_rate(steps(tx, GRADS, GRADS)[1]) == pytest.approx(0.9 * 0.4)
    with pytest.raises(ValueError, match=r"schedule_free_adamw\(learning_rate=...\) must be .* beside warmup_steps"):
        lrx.schedule_free_adamw(lrx.plateau(1e-3), warmup_steps=5)


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match=r"rprop\(learning_rate=...\) must be a number or a schedule"):
        lrx.rprop(lrx.plateau(0.1))
    with pytest.raises(ValueError, match=r"schedule_free\(base_optimizer=...\) must not evaluate the loss"):
        lrx.schedule_free(lrx.sgd(lrx.line_search()))
    with pytest.raises(ValueError, match=r"dowg\(learning_rate=...\) must have one rate for all leaves"):
        lrx.dowg(lrx.dog(per_leaf=True))
    for controller in (lrx.dog(per_leaf=True), lrx.line_search()):
        with pytest.raises(ValueError, match="pack"):
            lrx.pack(lrx.sgd(controller)).init(PARAMS)
    with pytest.raises(ValueError, match=r"is controlled: give its numbers, learning_rate=\{"):
        lrx.with_hyperparams(lrx.sgd(lrx.plateau(0.1)).init(PARAMS), learning_rate=0.2)


# ---------------------------------------------------------------- other libraries' links


def test_optax_links_are_not_given_a_gradient_that_they_do_not_take():
    tx = lrx.chain(optax.contrib.sam(optax.sgd(0.1), optax.sgd(0.1), sync_period=2))
    steps(tx, GRADS)


def test_a_chain_inside_optax_masked_has_its_own_gradient():
    tx = lrx.chain(optax.masked(lrx.sgd(lrx.polyak(10.0)), {"w": True, "b": False}))
    _, state = steps(tx, GRADS, value=2.5)
    assert lrx.learning_rate(state) == pytest.approx(2.5 / 1.25)


def test_whole_numbers_among_the_parameters_are_left_alone():
    params = {**PARAMS, "n": jnp.array(3)}

    def loss(params):
        return square({k: params[k] for k in ("w", "b")})

    value, grads = jax.value_and_grad(loss, allow_int=True)(params)
    made = [lrx.sgd(c) for c in (lrx.hypergradient(0.1, hyper_learning_rate=0.1), lrx.curvature_cap(0.1), lrx.dog())]
    made += [lrx.sgd(lrx.curvature_cap(0.1, exact=True)), lrx.sgd(lrx.line_search()), lrx.hdm()]
    made += [lrx.mechanize(lrx.sgd(1.0)), lrx.dadapt_adagrad(), lrx.prodigy(slice_p=2), lrx.schedule_free_sgd()]
    for tx in made:
        after, _ = steps(tx, grads, grads, params=params, value=value, value_fn=loss)
        assert after["n"] == 3
