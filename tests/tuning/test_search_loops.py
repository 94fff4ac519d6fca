"""`Search` in training loops as people write them: Flax with a loader of NumPy batches."""

import math

import flax.linen as nn
import jax
import numpy as np
import optax
from flax.training.train_state import TrainState

import lrx
from tests.operations import by_operations


class Network(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(1)(nn.tanh(nn.Dense(8)(x)))


def loader(seed):
    """Shuffled batches of a regression problem, without end."""
    x = np.random.default_rng(0).standard_normal((256, 4)).astype(np.float32)
    y = np.sin(x.sum(axis=1, keepdims=True))
    shuffled = np.random.default_rng(seed)
    while True:
        for rows in shuffled.permutation(256).reshape(8, 32):
            yield x[rows], y[rows]


@jax.jit
def train_step(state, x, y):
    loss, grads = jax.value_and_grad(lambda p: ((state.apply_fn(p, x) - y) ** 2).mean())(state.params)
    return state.apply_gradients(grads=grads), loss


# the rate in the state, so that all trials share one program
MODEL, TX = Network(), optax.inject_hyperparams(lrx.adam)(learning_rate=1.0)
start, rates_of = jax.jit(MODEL.init), by_operations(lambda schedule, counts: schedule(counts))


def losses_of(schedule, steps, seed):
    state = TrainState.create(apply_fn=MODEL.apply, params=start(jax.random.key(seed), np.ones((1, 4))), tx=TX)
    losses = []
    for (x, y), rate in zip(loader(seed), np.asarray(rates_of(schedule, np.arange(steps))), strict=False):
        state.opt_state.hyperparams["learning_rate"] = rate
        state, loss = train_step(state, x, y)
        losses.append(loss)
    return losses


def test_a_flax_loop_with_a_loader_finds_its_rate(tmp_path):
    file = tmp_path / "search.json"
    search = lrx.Search(steps=600)
    while (trial := search.ask()) is not None:
        search.tell(trial, losses_of(trial.schedule, trial.steps, trial.seed))
        file.write_text(search.to_json())
    found = lrx.Search.from_json(file.read_text()).result
    assert found.confident, found.doubt
    curves = {"x": lambda peak, steps: lrx.warmup_linear_schedule(peak, steps // 20, total_steps=steps)}
    final = {}
    for factor in (1 / 30, 1.0, 30.0):
        losses = losses_of(curves["x"](factor * found.learning_rate, 600), 600, seed=1)
        final[factor] = np.mean(np.nan_to_num(np.float32(losses[-50:]), nan=math.inf))
    assert min(final, key=final.__getitem__) == 1.0
