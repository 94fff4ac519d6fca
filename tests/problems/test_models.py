"""A CNN with batch normalization and dropout in each framework, as a problem: ten lines each, and a loop by hand."""

import functools
import sys
from typing import Any, NamedTuple

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import lrx
from lrx import problems
from tests.common import same

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 3, (12, 8))
IMAGES = (RNG.standard_normal((12, 8, 6, 6, 1)) + LABELS[:, :, None, None, None]).astype(np.float32)
DATA = list(zip(IMAGES, LABELS.astype(np.int32), strict=True))
VALIDATION, STEPS = DATA[-1], 5


def cross_entropy(logits, labels):
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def loss_fn(model, batch):
    images, labels = batch
    return cross_entropy(model(images), labels)


def metrics(model, batch):
    images, labels = batch
    return {"accuracy": jnp.mean(model(images).argmax(-1) == labels)}


# ---------------------------------------------------------------- the models


class LinenCNN(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        x = nn.Conv(4, (3, 3))(x)
        x = nn.relu(nn.BatchNorm(use_running_average=not train)(x)).mean((1, 2))
        return nn.Dense(3)(nn.Dropout(0.2, deterministic=not train)(x))


class NNXCNN(nnx.Module):
    def __init__(self, rngs):
        self.conv, self.norm = nnx.Conv(1, 4, (3, 3), rngs=rngs), nnx.BatchNorm(4, rngs=rngs)
        self.drop, self.out = nnx.Dropout(0.2, rngs=rngs), nnx.Linear(4, 3, rngs=rngs)

    def __call__(self, x):
        return self.out(self.drop(nnx.relu(self.norm(self.conv(x))).mean((1, 2))))


def haiku_cnn(x, is_training):
    x = hk.BatchNorm(True, True, 0.9)(hk.Conv2D(4, 3)(x), is_training)
    x = jax.nn.relu(x).mean((1, 2))
    return hk.Linear(3)(hk.dropout(hk.next_rng_key(), 0.2, x) if is_training else x)


class EquinoxCNN(eqx.Module):
    conv: eqx.nn.Conv2d
    norm: eqx.nn.BatchNorm
    drop: eqx.nn.Dropout
    out: eqx.nn.Linear

    def __init__(self, key):
        first, second = jax.random.split(key)
        self.conv, self.norm = eqx.nn.Conv2d(1, 4, 3, key=first), eqx.nn.BatchNorm(4, "batch", mode="batch")
        self.drop, self.out = eqx.nn.Dropout(0.2), eqx.nn.Linear(4, 3, key=second)

    def __call__(self, x, state, key):
        x, state = self.norm(self.conv(x.transpose(2, 0, 1)), state)
        return self.out(self.drop(jax.nn.relu(x).mean((1, 2)), key=key)), state


# ---------------------------------------------------------------- loops by hand: the losses, and the validation loss


def keys():
    """The key of the start and those of the updates, as the problem is given them by a sweep."""
    init, data = jax.random.split(jax.random.key(0), (1, 2))[0]
    return init, [jax.random.fold_in(jax.random.fold_in(data, t), 0) for t in range(STEPS)]


def validation_loss(logits):
    logits = np.asarray(logits)
    return np.mean(np.log(np.sum(np.exp(logits), -1)) - logits[np.arange(len(logits)), VALIDATION[1]])


def linen_loop(tx):
    start, each = keys()
    net = LinenCNN()
    random = {"params": start, "dropout": jax.random.fold_in(start, 1)}
    variables = jax.jit(functools.partial(net.init, train=True))(random, DATA[0][0])
    params, stats = variables["params"], variables["batch_stats"]
    state, losses = tx.init(params), []

    @jax.jit
    def step(params, stats, state, batch, key):
        def loss(params):
            out, new = net.apply(
                {"params": params, "batch_stats": stats}, batch[0], train=True, mutable=["batch_stats"],
                rngs={"dropout": key},
            )  # fmt: skip
            return cross_entropy(out, batch[1]), new["batch_stats"]

        (value, stats), grads = jax.value_and_grad(loss, has_aux=True)(params)
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), stats, state, value

    for batch, key in zip(DATA, each, strict=False):
        params, stats, state, value = step(params, stats, state, batch, key)
        losses.append(value)
    logits = jax.jit(functools.partial(net.apply, train=False))({"params": params, "batch_stats": stats}, VALIDATION[0])
    return losses, validation_loss(logits)


def nnx_loop(tx):
    start, each = keys()
    model = NNXCNN(nnx.Rngs(start))
    optimizer, losses = nnx.Optimizer(model, tx, wrt=nnx.Param), []

    @nnx.jit
    def step(model, optimizer, batch, key):
        model.drop.rngs.key[...] = jax.random.fold_in(key, 0)
        model.drop.rngs.count[...] = jnp.uint32(0)
        value, grads = nnx.value_and_grad(lambda m: cross_entropy(m(batch[0]), batch[1]))(model)
        optimizer.update(model, grads)
        return value

    model.train()
    for batch, key in zip(DATA, each, strict=False):
        losses.append(step(model, optimizer, batch, key))
    model.eval()
    return losses, validation_loss(nnx.jit(lambda model, images: model(images))(model, VALIDATION[0]))


def haiku_loop(tx):
    start, each = keys()
    net = hk.transform_with_state(haiku_cnn)
    params, stats = jax.jit(functools.partial(net.init, is_training=True))(start, DATA[0][0])
    state, losses = tx.init(params), []

    @jax.jit
    def step(params, stats, state, batch, key):
        def loss(params):
            out, new = net.apply(params, stats, key, batch[0], True)
            return cross_entropy(out, batch[1]), new

        (value, stats), grads = jax.value_and_grad(loss, has_aux=True)(params)
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), stats, state, value

    for batch, key in zip(DATA, each, strict=False):
        params, stats, state, value = step(params, stats, state, batch, key)
        losses.append(value)
    logits, _ = jax.jit(functools.partial(net.apply, is_training=False))(params, stats, None, VALIDATION[0])
    return losses, validation_loss(logits)


def equinox_loop(tx):
    start, each = keys()
    model, stats = eqx.filter_jit(eqx.nn.make_with_state(EquinoxCNN))(start)
    state, losses = tx.init(eqx.filter(model, eqx.is_inexact_array)), []

    @eqx.filter_jit
    def step(model, stats, state, batch, key):
        def loss(model):
            batched = jax.vmap(model, axis_name="batch", in_axes=(0, None, 0), out_axes=(0, None))
            out, new = batched(batch[0], stats, jax.random.split(key, len(batch[0])))
            return cross_entropy(out, batch[1]), new

        (value, stats), grads = eqx.filter_value_and_grad(loss, has_aux=True)(model)
        updates, state = tx.update(grads, state, eqx.filter(model, eqx.is_inexact_array))
        return eqx.apply_updates(model, updates), stats, state, value

    for batch, key in zip(DATA, each, strict=False):
        model, stats, state, value = step(model, stats, state, tuple(map(jnp.asarray, batch)), key)
        losses.append(value)
    batched = jax.vmap(eqx.nn.inference_mode(model), axis_name="batch", in_axes=(0, None, None), out_axes=(0, None))
    logits = jax.jit(lambda images, stats: batched(images, stats, None)[0])(VALIDATION[0], stats)
    return losses, validation_loss(logits)


class Framework(NamedTuple):
    make: Any
    module: Any
    loop: Any
    statistic: Any
    """Of the model state: the running mean."""


FRAMEWORKS = {
    "linen": Framework(problems.from_linen, LinenCNN(), linen_loop, lambda s: s["batch_stats"]["BatchNorm_0"]["mean"]),
    "nnx": Framework(problems.from_nnx, NNXCNN, nnx_loop, lambda s: s["norm"]["mean"][...]),
    "haiku": Framework(problems.from_haiku, haiku_cnn, haiku_loop, lambda s: s["batch_norm/~/mean_ema"]["average"]),
    "equinox": Framework(problems.from_equinox, EquinoxCNN, equinox_loop, lambda s: jax.tree.leaves(s)[1]),
}
each_framework = pytest.mark.parametrize("name", FRAMEWORKS)


@functools.cache
def problem_of(name):
    framework = FRAMEWORKS[name]
    return framework.make(framework.module, loss_fn, DATA, validation=VALIDATION, metrics=metrics)


@each_framework
def test_a_sweep_is_the_loop_that_one_writes_by_hand(name):
    # not Adam, which makes steps out of the rounding errors of a bias before a normalization
    result = lrx.sweep(problem_of(name), lrx.sgd, learning_rate=[0.03, 0.3], steps=STEPS)
    losses, validation = FRAMEWORKS[name].loop(optax.sgd(0.3))
    np.testing.assert_allclose(result.losses[1, 0, 0], losses, rtol=2e-5)
    np.testing.assert_allclose(result.scores["loss"][1, 0, 0], validation, rtol=1e-4)
    assert 0 <= result.scores["accuracy"][1, 0, 0] <= 1
    assert result.losses[1, 0, 0, -1] < result.losses[1, 0, 0, 0]


@each_framework
def test_statistics_move_dropout_draws_and_evaluation_does_neither(name):
    problem = problem_of(name)
    init, loss = jax.jit(problem.init), jax.jit(problem.loss_with_state)
    params, before = init(jax.random.key(0))
    a, after = loss(params, before, DATA[1], jax.random.key(1))  # Haiku's statistics begin with the first batch
    b, _ = loss(params, before, DATA[1], jax.random.key(2))
    again, _ = loss(params, before, DATA[1], jax.random.key(1))
    assert a == again != b
    assert np.any(FRAMEWORKS[name].statistic(before) != FRAMEWORKS[name].statistic(after))
    _, after = loss(params, after, DATA[0], jax.random.key(1))
    evaluate = jax.jit(problem.evaluate)
    assert same(evaluate(params, after), evaluate(params, after))
    assert evaluate(params, after)["loss"] != evaluate(params, before)["loss"]  # by the running statistics
    other, _ = init(jax.random.key(1))
    assert not same(params, other)


def test_find_chooses_a_rate_for_a_model():
    problem = problem_of("linen")
    found = lrx.find(problem, lrx.adam, steps=200, lanes=1)
    assert 1e-4 < found.learning_rate < 10


def test_batches_of_any_kind_lose_none():
    seen = []

    def of(batches):
        problem = problems.from_haiku(haiku_cnn, loss_fn, batches)
        seen.append(lrx.sweep(problem, lrx.sgd, learning_rate=[0.03, 0.3], steps=STEPS).losses)

    for batches in (DATA, lambda: iter(DATA), iter(DATA)):
        of(batches)
    np.testing.assert_array_equal(seen[0], seen[1])
    np.testing.assert_array_equal(seen[0], seen[2])
    images, labels = map(jnp.asarray, DATA[0])
    drawn = problems.from_haiku(haiku_cnn, loss_fn, sample=lambda key: (images, labels), name="drawn")
    assert drawn.name == "drawn" and drawn.batches is None and drawn.evaluate is None
    assert np.isfinite(lrx.sweep(drawn, lrx.sgd, learning_rate=0.05, steps=2).losses).all()


def test_models_without_mode_state_or_keys():
    def plain(model, batch):
        return jnp.mean(model(batch) ** 2)

    x = [jnp.ones((4, 3))]

    @functools.partial(jax.jit, static_argnums=0)
    def first_loss(problem, batch):
        params, state = problem.init(jax.random.key(0))
        return params, problem.loss_with_state(params, state, batch, None)[0]

    made = [
        problems.from_linen(nn.Dense(2), plain, x),
        problems.from_nnx(lambda rngs: nnx.Linear(3, 2, rngs=rngs), plain, x),
        problems.from_haiku(hk.transform(lambda x: hk.Linear(2)(x)), plain, x),
        problems.from_equinox(lambda key: eqx.nn.MLP(3, 2, 4, 1, key=key), plain, x),
    ]
    for problem in made:
        params, loss = first_loss(problem, x[0])
        assert np.isfinite(loss) and all(jnp.issubdtype(p.dtype, jnp.floating) for p in jax.tree.leaves(params))


def test_a_model_that_is_there_is_trained_from_its_own_parameters():
    model, theirs = eqx.nn.make_with_state(EquinoxCNN)(jax.random.key(5)), NNXCNN(nnx.Rngs(5))
    for problem, first in (
        (problems.from_equinox(model, loss_fn, DATA), model[0].out.weight),
        (problems.from_nnx(theirs, loss_fn, DATA), theirs.out.kernel[...]),
    ):
        for key in range(2):
            params, _ = problem.init(jax.random.key(key))
            assert any(np.array_equal(first, p) for p in jax.tree.leaves(params))


class Field(nn.Module):
    deterministic: bool | None = None

    @nn.compact
    def __call__(self, x):
        return nn.Dropout(0.5, deterministic=self.deterministic)(nn.Dense(2)(x))


def test_the_mode_may_be_a_field_of_a_linen_module_and_loss_fn_has_the_last_word():
    x = jnp.ones((4, 3))
    problem = problems.from_linen(Field(), lambda m, b: jnp.mean(m(b) ** 2), [x], validation=x)
    start, loss = jax.jit(problem.init)(jax.random.key(0)), jax.jit(problem.loss_with_state)
    losses = {float(loss(*start, x, jax.random.key(i))[0]) for i in range(3)}
    assert len(losses) == 3 and float(problem.evaluate(*start)["loss"]) not in losses
    always = problems.from_linen(LinenCNN(), lambda m, b: cross_entropy(m(b[0], train=False), b[1]), DATA)
    start = jax.jit(always.init)(jax.random.key(0))
    assert same(start[1], jax.jit(always.loss_with_state)(*start, DATA[0], jax.random.key(0))[1])


@each_framework
def test_what_is_wrong(name, monkeypatch):
    make, module = FRAMEWORKS[name][:2]
    call = make.__name__
    with pytest.raises(TypeError, match=rf"{call}\(module=...\) must be .*, got 3"):
        make(3, loss_fn, DATA)
    with pytest.raises(TypeError, match=rf"{call}\(loss_fn=...\) must be a function of \(model, batch\), got 'loss'"):
        make(module, "loss", DATA)
    with pytest.raises(TypeError, match=rf"{call}\(batches=...\) must be given, or sample"):
        make(module, loss_fn)
    with pytest.raises(TypeError, match=rf"{call}\(batches=...\) must be an iterable of batches"):
        make(module, loss_fn, 3)
    with pytest.raises(ValueError, match=rf"{call}\(batches=...\) must hold at least one batch"):
        make(module, loss_fn, [])
    vector = make(module, lambda model, batch: model(batch[0]).mean(1), DATA)
    with pytest.raises(TypeError, match=rf"{call}\(loss_fn=...\) must return a scalar, got \(8,\). Take the mean."):
        jax.eval_shape(lambda key: vector.loss_with_state(*vector.init(key), DATA[0], key), jax.random.key(0))
    package = {"linen": "flax.linen", "nnx": "flax.nnx"}.get(name, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"{call}\(module=...\) needs .*: pip install"):
        make(module, loss_fn, DATA)
