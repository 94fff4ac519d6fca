"""Every controller, and every optimizer that finds its rate, against a float64 loop in NumPy from the papers."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrx
from tests.reference import controllers, distance, learning_rate_free, schedule_free
from tests.reference.compare import disagreement, random_problem
from tests.reference.loop import trajectory

from .common import START, STEPS, follow, problem, split_problem, value_at

BOUND = 2e-6
"""The rates of schedules and constants are float32, whatever the parameters are."""


@pytest.fixture(autouse=True)
def float64():
    """Parameters in float64, so that what differs is the rule."""
    with jax.enable_x64(True):
        yield


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """A rule, and its reference: (problem, x0, steps) -> (path, rates)."""

    name: str
    make: Callable[[], Any]
    reference: Callable[..., Any]
    bound: float = BOUND
    rate_bound: float = 3e-6

    def __str__(self):
        return self.name


def decaying(count):
    return 0.5 / (1 + 0.02 * count)


def falling(count):
    return 1.0 - count / 250


CASES = [
    Case("polyak", lambda: lrx.sgd(lrx.polyak(1.0)), controllers.polyak_sgd),
    Case(
        "polyak_scheduled_with_momentum",
        lambda: lrx.sgd(lrx.polyak(decaying, f_min=0.02, variant="sps+", c=0.5, growth=1.1), momentum=0.5),
        lambda *p: controllers.polyak_sgd(
            *p, max_learning_rate=decaying, f_min=0.02, variant="sps+", c=0.5, growth=1.1, momentum=0.5
        ),
    ),
    Case(
        "alig",
        lambda: lrx.sgd(lrx.alig(0.3)),
        lambda *p: controllers.alig(*p, max_learning_rate=0.3),
    ),
    Case(
        "line_search",
        lambda: lrx.sgd(lrx.line_search(10.0, increase=1.2)),
        lambda p, x, n: controllers.armijo(p, value_at, x, n, max_learning_rate=10.0, increase=1.2),
    ),
    Case(
        "line_search_that_fails",
        lambda: lrx.sgd(lrx.line_search(10.0, c=0.9, decrease=0.5, max_steps=3), momentum=0.9),
        lambda p, x, n: controllers.armijo(
            p, value_at, x, n, max_learning_rate=10.0, c=0.9, decrease=0.5, increase=2.0, max_steps=3, momentum=0.9
        ),
    ),
    Case(
        "hypergradient",
        lambda: lrx.sgd(lrx.hypergradient(decaying, hyper_learning_rate=1e-3), momentum=0.5),
        lambda *p: controllers.hypergradient(*p, learning_rate=decaying, hyper_learning_rate=1e-3, momentum=0.5),
    ),
    Case(
        "hypergradient_multiplicative",
        lambda: lrx.sgd(lrx.hypergradient(0.05, hyper_learning_rate=0.02, mode="multiplicative")),
        lambda *p: controllers.hypergradient(*p, learning_rate=0.05, hyper_learning_rate=0.02, mode="multiplicative"),
    ),
    Case(
        "l4_momentum",
        lambda: lrx.chain(lrx.ema(0.9), lrx.scale_by_learning_rate(lrx.l4())),
        controllers.l4,
    ),
    Case(
        "l4_adam",
        lambda: lrx.adam(lrx.l4(), eps=1e-4),
        lambda *p: controllers.l4(*p, direction="adam"),
        rate_bound=1e-4,  # at the end, a quotient of two small numbers
    ),
    Case("dog", lambda: lrx.sgd(lrx.dog(falling)), lambda *p: distance.dog(*p, learning_rate=falling)),
    Case(
        "dog_from_a_distance",
        lambda: lrx.sgd(lrx.dog(init_distance=0.1, eps=0.0)),
        lambda *p: distance.dog(*p, init_distance=0.1, eps=0.0),
    ),
    Case("dowg", lambda: lrx.sgd(lrx.dowg(falling)), lambda *p: distance.dowg(*p, learning_rate=falling)),
    Case(
        "distance_cap",
        lambda: lrx.sgd(lrx.distance_cap(falling, max_distance=0.2), momentum=0.5),
        lambda *p: distance.distance_cap(*p, learning_rate=falling, max_distance=0.2, momentum=0.5),
    ),
    Case(
        "curvature_cap",
        lambda: lrx.sgd(lrx.curvature_cap(decaying, bound=1.5, decay=0.9), momentum=0.5),
        lambda *p: distance.curvature_cap(*p, learning_rate=decaying, bound=1.5, decay=0.9, momentum=0.5),
    ),
    Case("momo", lambda: lrx.momo(falling), lambda *p: distance.momo(*p, learning_rate=falling)),
    Case(
        "momo_with_decay_and_a_bound",
        lambda: lrx.momo(1.0, 0.8, weight_decay=0.01, adapt_lower_bound=True),
        lambda *p: distance.momo(*p, beta=0.8, weight_decay=0.01, adapt_lower_bound=True),
    ),
    Case("momo_adam", lambda: lrx.momo_adam(0.1), lambda *p: distance.momo_adam(*p, learning_rate=0.1)),
    Case(
        "momo_adam_with_decay_and_a_bound",
        lambda: lrx.momo_adam(0.1, weight_decay=0.01, adapt_lower_bound=True),
        lambda *p: distance.momo_adam(*p, learning_rate=0.1, weight_decay=0.01, adapt_lower_bound=True),
    ),
]
PER_LEAF = [
    Case("l_dog", lambda: lrx.sgd(lrx.dog(per_leaf=True)), distance.l_dog),
    Case(
        "hypergradient_per_leaf",
        lambda: lrx.sgd(lrx.hypergradient(0.1, hyper_learning_rate=1e-3, per_leaf=True)),
        lambda *p: controllers.hypergradient(*p, learning_rate=0.1, hyper_learning_rate=1e-3, per_leaf=True),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_on_a_noisy_quadratic(case):
    path, rates, _ = follow(case.make())
    expected, expected_rates = case.reference(problem, START, STEPS)
    assert disagreement(path, expected) < case.bound
    (ours,) = rates.values()
    if expected_rates.ndim == 1 and "momo_adam" not in case.name:  # whose rate is told as Adam's
        np.testing.assert_allclose(ours, expected_rates, rtol=case.rate_bound, atol=1e-12)


@pytest.mark.parametrize("case", PER_LEAF, ids=str)
def test_with_a_rate_for_each_leaf(case):
    start = [START[:2], START[2:]]
    path, rates, _ = follow(case.make(), start)
    expected, expected_rates = case.reference(split_problem, start, STEPS)
    for ours, theirs in zip(path, expected, strict=True):
        assert disagreement(ours, theirs) < case.bound
    assert list(rates) == [f"scale_by_learning_rate.learning_rate.{i}" for i in range(2)]
    np.testing.assert_allclose(np.stack(list(rates.values()), axis=-1), expected_rates, rtol=3e-6)


def test_hdm_on_a_quadratic_without_noise():
    curvature = np.logspace(-1, 0.5, 6)

    def quadratic(t, x):
        return 0.5 * float(np.sum(curvature * x**2)), curvature * x

    def loss(x):
        return 0.5 * jnp.sum(jnp.asarray(curvature) * x**2)

    tx = lrx.hdm(0.5)

    def step(carry, _):
        x, state = carry
        value, grads = jax.value_and_grad(loss)(x)
        updates, state = tx.update(grads, state, x, value=value)
        return (x + updates, state), (lrx.eval_params(state, x), x + updates)

    x = jnp.asarray(START)
    _, (accepted, proposed) = jax.lax.scan(step, (x, tx.init(x)), None, length=60)
    expected = distance.hdm(quadratic, START, 60, learning_rate=0.5)
    assert disagreement(np.concatenate([START[None], proposed]), expected.path) < 1e-5
    assert disagreement(accepted, expected.kept) < 1e-5


def directions_of_adam(gradients):
    """Adam's directions, for Mechanic."""
    m, v = np.zeros_like(gradients[0]), np.zeros_like(gradients[0])
    for t, g in enumerate(gradients, start=1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        yield m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)


def unchanged(gradients):
    """SGD's directions."""
    yield from gradients


lrf, sf = learning_rate_free, schedule_free
FREE = [
    Case("prodigy", lambda: lrx.prodigy(falling), lambda: lrf.prodigy(falling)),
    Case(
        "prodigy_with_everything",
        lambda: lrx.prodigy(1.0, (0.8, 0.99), 0.9, 1e-6, 1e-4, 0.5, 0.1, True, use_bias_correction=False, slice_p=3),
        lambda: lrf.prodigy(1.0, (0.8, 0.99), 0.9, 1e-6, 1e-4, 0.5, 0.1, True, use_bias_correction=False, slice_p=3),
    ),
    Case(
        "prodigy_growing_slowly",
        lambda: lrx.prodigy(growth_rate=1.02, eps=1e-3),
        lambda: lrf.prodigy(growth_rate=1.02, eps=1e-3),
    ),
    Case(
        "prodigy_with_a_cap_and_an_end",
        lambda: lrx.prodigy(growth_rate=1.5, estim_lr_max=1e-2, growth_steps=40),
        lambda: lrf.prodigy(growth_rate=1.5, estim_lr_max=1e-2, growth_steps=40),
    ),
    Case("prodigy_capped", lambda: lrx.prodigy(estim_lr_max=1e-3), lambda: lrf.prodigy(estim_lr_max=1e-3)),
    Case("prodigy_stopped", lambda: lrx.prodigy(growth_steps=7), lambda: lrf.prodigy(growth_steps=7)),
    Case("dadapt_sgd", lambda: lrx.dadapt_sgd(falling, 0.9), lambda: lrf.dadapt_sgd(falling, 0.9)),
    Case("dadapt_adagrad", lambda: lrx.dadapt_adagrad(falling, 0.5), lambda: lrf.dadapt_adagrad(falling, 0.5)),
    Case(
        "dadapt_adamw",
        lambda: lrx.dadapt_adamw(falling, weight_decay=0.1),
        lambda: lrf.dadapt_adamw(falling, weight_decay=0.1),
    ),
    Case(
        "dadapt_sgd_growing_slowly",
        lambda: lrx.dadapt_sgd(growth_rate=1.02),
        lambda: lrf.dadapt_sgd(growth_rate=1.02),
    ),
    Case("mechanize_sgd", lambda: lrx.mechanize(lrx.sgd(falling)), lambda: lrf.mechanic(falling, unchanged)),
    Case("mechanize_adam", lambda: lrx.mechanize(lrx.adam(1.0)), lambda: lrf.mechanic(1.0, directions_of_adam), 1e-5),
    Case(
        "schedule_free_sgd",
        lambda: lrx.schedule_free_sgd(0.1, 10, weight_decay=0.1, r=1.0),
        lambda: sf.schedule_free_sgd(0.1, weight_decay=0.1, warmup_steps=10, r=1.0),
    ),
    Case(
        "schedule_free_sgd_decoupled",
        lambda: lrx.schedule_free_sgd(decaying, decoupling=50.0, b1=0.8),
        lambda: sf.schedule_free_sgd(decaying, b1=0.8, decoupling=50.0),
    ),
    Case(
        "schedule_free_adamw",
        lambda: lrx.schedule_free_adamw(0.01, 10, weight_decay=0.1),
        lambda: sf.schedule_free_adamw(0.01, weight_decay=0.1, warmup_steps=10),
    ),
    Case(
        "schedule_free_adamw_inner_momentum",
        lambda: lrx.schedule_free_adamw(0.01, inner_momentum=0.9, weight_lr_power=1.0),
        lambda: sf.schedule_free_adamw(0.01, inner_momentum=0.9, weight_lr_power=1.0),
    ),
    Case(
        "schedule_free_radam",
        lambda: lrx.schedule_free_radam(0.01, weight_decay=0.1),
        lambda: sf.schedule_free_radam(0.01, weight_decay=0.1),
    ),
]


def trained(tx, x0, gradients, values=None, read=lambda state, params: params):
    """The parameters, and what `read` makes of state and parameters, along gradients fixed in advance."""

    def step(carry, signals):
        params, state = carry
        g, value = signals
        updates, state = tx.update(g, state, params, value=value)
        params = lrx.apply_updates(params, updates)
        return (params, state), (params, read(state, params))

    values = jnp.ones(len(gradients)) if values is None else jnp.asarray(values)
    x = jnp.asarray(x0)
    _, paths = jax.lax.scan(step, (x, tx.init(x)), (jnp.asarray(gradients), values))
    return [np.concatenate([np.asarray(x0)[None], path]) for path in paths]


@pytest.mark.parametrize("case", FREE, ids=str)
def test_along_given_gradients(case):
    x0, gradients = random_problem()
    path, _ = trained(case.make(), x0, gradients)
    assert disagreement(path, trajectory(case.reference(), x0, gradients)) < case.bound


@pytest.mark.parametrize("averages", [False, True])
def test_schedule_free_plus(averages):
    x0, gradients = random_problem()
    values = np.random.default_rng(0).uniform(0.5, 2.0, len(gradients))
    tx = lrx.schedule_free_adamw(
        lambda count: jnp.minimum((count + 1) / 20, 1.0),
        b2=0.95,
        weight_decay=20.0,
        r=2.0,
        inner_momentum=0.9,
        polyak=True,
        averaging_start=30,
    )
    reference = sf.schedule_free_plus(
        values,
        lambda count: min((count + 1) / 20, 1.0),
        weight_decay=20.0,
        r=2.0,
        c_warmup=30,
        averages=averages,
    )
    path = trained(tx, x0, gradients, values, lrx.eval_params)[averages]
    assert disagreement(path, trajectory(reference, x0, gradients)) < BOUND


def test_schedule_free_average_is_what_eval_params_reads():
    x0, gradients = random_problem()
    _, average = trained(lrx.schedule_free_sgd(0.1), x0, gradients, read=lrx.eval_params)
    assert disagreement(average, trajectory(sf.schedule_free_sgd(0.1, averages=True), x0, gradients)) < BOUND


def test_cocob_with_its_rate_of_one_is_the_papers():
    path, _, _ = follow(lrx.cocob())
    assert disagreement(path, distance.cocob(problem, START, STEPS)[0]) < 1e-5


def test_polynomial_averaging():
    tx = lrx.chain(lrx.sgd(0.1), lrx.polynomial_averaging())
    path, _, state = follow(tx)
    expected = distance.polynomial_average(path)
    np.testing.assert_allclose(lrx.eval_params(state, jnp.asarray(path[-1])), expected[-1], rtol=1e-6)
