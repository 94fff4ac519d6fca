"""`resume`: the memory of a checkpoint under the hyperparameters of the code."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrx
from tests.common import GRADS, PARAMS, as_restored, avals, one_step, same, train

CONSTANT = lrx.adam(1e-3)
SCHEDULED = lrx.adam(lrx.linear_schedule(1.0, 0.0, 10))


def test_optax_1036_resume_restores_one_count():
    state = lrx.resume(SCHEDULED, PARAMS, train(SCHEDULED, steps=4)[1])
    assert lrx.count(state) == 4
    assert lrx.learning_rate(SCHEDULED.update(GRADS, state)[1]) == pytest.approx(0.6)


def test_constant_to_schedule_to_constant():
    _, state = train(CONSTANT, steps=2)
    state = lrx.resume(SCHEDULED, PARAMS, state)
    assert lrx.count(state) == 2
    assert lrx.learning_rate(state) == np.float32(1e-3)
    _, state = SCHEDULED.update(GRADS, state)
    assert lrx.learning_rate(state) == pytest.approx(0.8)
    state = lrx.resume(CONSTANT, PARAMS, state)
    assert lrx.count(state) == 3
    assert lrx.learning_rate(state) == np.float32(1e-3)


def test_a_step_is_compiled_once_after_a_resume_from_a_file():
    """Orbax binds what it reads to the device: numbers that are not bound would make of the first step another one."""
    params, state = jax.device_put((PARAMS, SCHEDULED.init(PARAMS)), jax.devices()[0])
    state = lrx.resume(CONSTANT, params, state)
    step = jax.jit(lambda params, state: one_step(CONSTANT, params, state, GRADS))
    for _ in range(2):
        params, state = step(params, state)
    assert step._cache_size() == 1


def test_hf_27749_resume_takes_the_new_rate_and_the_old_moments():
    _, state = train(CONSTANT)
    resumed = lrx.resume(lrx.adam(1e-2, b1=0.5), PARAMS, state)
    assert lrx.learning_rate(resumed) == np.float32(1e-2)
    assert lrx.hyperparams(resumed)["scale_by_adam.b1"] == 0.5
    assert same(resumed["scale_by_adam"].memory, state["scale_by_adam"].memory)


def test_resuming_the_same_optimizer_gives_the_same_bits():
    _, state = train(SCHEDULED)
    for restored in (state, as_restored(state)):
        assert same(lrx.resume(SCHEDULED, PARAMS, restored), state)


def test_raw_dicts_inside_an_optax_chain():
    tx = optax.chain(optax.clip(1.0), SCHEDULED)
    _, state = train(tx)
    assert same(lrx.resume(tx, PARAMS, as_restored(state)), state)


def test_state_cast_to_bfloat16_is_repaired():
    _, state = train(CONSTANT)
    spoilt = jax.tree.map(lambda x: x.astype(jnp.bfloat16), state)
    resumed = lrx.resume(CONSTANT, PARAMS, spoilt)
    assert avals(resumed) == avals(state)
    assert same(lrx.hyperparams(resumed), lrx.hyperparams(state))
    assert lrx.count(resumed) == 3


def test_zeroed_state_keeps_its_hyperparameters():
    _, state = train(CONSTANT)
    resumed = lrx.resume(CONSTANT, PARAMS, jax.tree.map(jnp.zeros_like, state))
    assert same(lrx.hyperparams(resumed), lrx.hyperparams(state))
    assert lrx.count(resumed) == 0


def test_flax_1177_stateless_links_come_and_go():
    more = lrx.chain(lrx.clip_by_global_norm(1.0), lrx.adamw(1e-3))
    assert lrx.count(lrx.resume(more, PARAMS, train(CONSTANT)[1])) == 3
    assert lrx.count(lrx.resume(CONSTANT, PARAMS, train(more)[1])) == 3


def test_missing_and_surplus_memory_is_listed_by_path():
    with pytest.raises(ValueError, match="found that they do not fit") as error:
        lrx.resume(lrx.sgd(1.0, momentum=0.9), PARAMS, train(CONSTANT)[1])
    assert "momentum.trace.b is not in the checkpoint; momentum.trace.w is not in the checkpoint" in str(error.value)
    assert "scale_by_adam.mu.w is in the checkpoint, but tx has no place for it" in str(error.value)


def test_other_shapes_are_listed_by_path():
    wider = {**PARAMS, "w": np.ones((3, 3), np.float32)}
    message = "scale_by_adam.mu.w has shape (2, 3) in the checkpoint, (3, 3) in tx"
    with pytest.raises(ValueError, match=re.escape(message)):
        lrx.resume(CONSTANT, wider, train(CONSTANT)[1])


def test_state_of_another_rule_of_optax_is_refused():
    with pytest.raises(ValueError, match=r"scale_by_adam\.count is not in the checkpoint"):
        lrx.resume(CONSTANT, PARAMS, optax.adabelief(1e-3).init(PARAMS))


def test_parameters_may_have_the_names_of_state_fields():
    params = {name: np.ones(2, np.float32) for name in ("hyperparams", "memory", "learning_rate", "schedule", "count")}
    _, state = train(CONSTANT, params, params)
    for restored in (state, as_restored(state)):
        assert same(lrx.resume(CONSTANT, params, restored), state)
    assert list(lrx.learning_rates(state)) == ["scale_by_learning_rate.learning_rate"]


def test_resume_under_jit():
    _, state = train(CONSTANT)
    assert avals(jax.jit(lambda s: lrx.resume(SCHEDULED, PARAMS, s))(state)) == avals(SCHEDULED.init(PARAMS))


def test_accumulated_state_resumes_under_a_schedule():
    constant, scheduled = (optax.MultiSteps(tx, 2).gradient_transformation() for tx in (CONSTANT, SCHEDULED))
    state = lrx.resume(scheduled, PARAMS, train(constant, steps=5)[1])
    assert lrx.count(state) == 2
    assert state.mini_step == 1


@pytest.mark.parametrize("restored", [3.0, None, "state", np.ones(3)])
def test_what_is_no_state_is_refused_in_one_line(restored):
    with pytest.raises(TypeError, match=r"resume\(restored=...\) must be a state"):
        lrx.resume(CONSTANT, PARAMS, restored)
