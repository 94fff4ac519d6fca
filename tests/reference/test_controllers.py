"""The references of the controllers against optax in float64, and by hand where optax has none."""

import dataclasses
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

from tests.reference import controllers, distance
from tests.reference.compare import disagreement
from tests.reference.schedules import f32

STEPS = 200


def noisy_quadratic(size=6, low=0.05, noise=0.3):
    """Return a problem ½Σh(x − z_t)² + low whose minimum moves, and where to begin."""
    rng = np.random.default_rng(11)
    h = np.logspace(-1, 1, size)
    z = noise * rng.standard_normal((STEPS, size))

    def problem(t, x):
        return 0.5 * np.sum(h * (x - z[t]) ** 2) + low, h * (x - z[t])

    return problem, rng.standard_normal(size)


def decaying(count):
    """Return a rate that changes at every count."""
    return 0.5 / (1 + count)


def rounded(arguments):
    """Return the arguments, or the defaults of a function, with the floats among them as a reference rounds them."""
    if callable(arguments):
        arguments = {name: p.default for name, p in inspect.signature(arguments).parameters.items()}
        arguments = {name: default for name, default in arguments.items() if isinstance(default, float)}
    return {key: f32(value) if isinstance(value, float) else value for key, value in arguments.items()}


@dataclasses.dataclass(frozen=True)
class Case:
    """An optimizer's name and arguments, and what optax calls them."""

    name: str
    arguments: dict
    peer_arguments: dict | None = None

    def __str__(self):
        return "-".join([self.name, *(f"{k}={getattr(v, '__name__', v)}" for k, v in self.arguments.items())])

    def reference(self, problem, x0):
        """Return the path and the rates of the reference."""
        make = getattr(controllers, self.name, None) or getattr(distance, self.name)
        return make(problem, x0, STEPS, **self.arguments)

    def peer(self):
        """Return optax's optimizer, with the numbers that the reference rounds to."""
        make = getattr(optax, self.name, None) or getattr(optax.contrib, self.name)
        return make(**rounded(make) | rounded(self.arguments if self.peer_arguments is None else self.peer_arguments))


def momo_case(name, **arguments):
    """Return a case of MoMo, whose decay optax has in its own way."""
    return Case(name, arguments | {"convention": "optax"}, arguments)


def heuristic(reps_rel):
    """Return what optax calls DoG's `reps_rel`."""
    return {"init_step": ("heuristic", f32(reps_rel))}


CASES = [
    Case("polyak_sgd", {"max_learning_rate": 0.1}),
    Case("polyak_sgd", {"max_learning_rate": 1.0, "f_min": 0.04}),
    Case("polyak_sgd", {"max_learning_rate": 0.3, "f_min": 2.0}),  # negative rates
    Case("polyak_sgd", {"max_learning_rate": 0.3, "f_min": 2.0, "variant": "sps+"}),
    Case("dog", {}, heuristic(1e-6)),
    Case("dog", {"learning_rate": decaying, "reps_rel": 0.1}, heuristic(0.1) | {"learning_rate": decaying}),
    Case("dog", {"init_distance": 0.1, "eps": 1e-2}, {"init_step": ("distance", f32(0.1)), "eps": 1e-2}),
    Case("dog", {"init_learning_rate": 1e-3}, {"init_step": ("learning_rate", f32(1e-3))}),
    Case("dowg", {}),
    Case("dowg", {"learning_rate": 0.5, "init_estim_sq_dist": 1e-2, "eps": 1e-3}),
    Case("cocob", {}),
    Case("cocob", {"learning_rate": decaying, "alpha": 10.0, "eps": 1e-3}),
    momo_case("momo"),
    momo_case("momo", learning_rate=0.1, beta=0.8, lower_bound=0.04, weight_decay=0.1),
    momo_case("momo", learning_rate=decaying, weight_decay=0.1, adapt_lower_bound=True),
    momo_case("momo_adam"),
    momo_case("momo_adam", learning_rate=decaying, b1=0.8, b2=0.99, eps=1e-3, lower_bound=0.04, weight_decay=0.1),
    momo_case("momo_adam", learning_rate=0.3, adapt_lower_bound=True),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_as_optax(case):
    problem, x0 = noisy_quadratic()
    path, rates = case.reference(problem, x0)
    with jax.enable_x64(True):
        optimizer = case.peer()
        update = jax.jit(lambda g, state, x, f: optimizer.update(g, state, x, value=f))
        if not isinstance(optimizer, optax.GradientTransformationExtraArgs):
            update = jax.jit(lambda g, state, x, f: optimizer.update(g, state, x))
        x = jnp.asarray(x0)
        state, peer_path = optimizer.init(x), [x0]
        for t in range(STEPS):
            f, g = problem(t, np.asarray(x))
            updates, state = update(g, state, x, f)
            x = x + updates
            peer_path.append(np.asarray(x))
    assert len(rates) == STEPS
    assert disagreement(path, np.stack(peer_path)) < 1e-9


@pytest.mark.parametrize("convention", ["paper", "optax"])
@pytest.mark.parametrize("name", ["momo", "momo_adam"])
def test_a_decay_of_momo_divides_the_step_too(name, convention):
    problem, x0 = noisy_quadratic()
    make, eta = getattr(distance, name), 2**-8
    path, rates = make(problem, x0, 1, learning_rate=eta, weight_decay=32.0, convention=convention)
    plain, plain_rates = make(problem, x0, 1, learning_rate=eta)
    assert rates == plain_rates  # both at the cap
    expected = plain[1] / 1.125 if convention == "paper" else x0 / 1.125 + plain[1] - x0
    np.testing.assert_allclose(path[1], expected)


def values(steps=400):
    """Return a metric that falls, stalls and rises by turns."""
    rng = np.random.default_rng(3)
    return 2 + np.cumsum(rng.standard_normal(steps) * 0.05 - 0.01 * (np.arange(steps) % 60 < 30))


PLATEAUS = [
    {},
    {"factor": 0.5, "patience": 3},
    {"factor": 0.5, "patience": 2, "cooldown": 4, "rtol": 1e-2, "atol": 1e-3},
    {"factor": 0.5, "patience": 3, "window": 3, "min_value": 0.01},
]


@pytest.mark.parametrize("arguments", PLATEAUS, ids=str)
def test_a_plateau_as_optax(arguments):
    metrics = values()
    metrics[[5, 100, 101]] = np.nan
    metrics = np.abs(metrics)  # optax's margin is right above zero
    rates = controllers.plateau(metrics, learning_rate=0.1, **arguments)
    names = {"window": "accumulation_size", "min_value": "min_scale"}
    make = optax.contrib.reduce_on_plateau
    renamed = rounded(make) | {names.get(key, key): value for key, value in rounded(arguments).items()}
    with jax.enable_x64(True):
        optimizer = make(**renamed | {"min_scale": renamed["min_scale"] / f32(0.1)})
        update = jax.jit(lambda state, value: optimizer.update(jnp.ones(()), state, value=value))
        state, peer = optimizer.init(jnp.zeros(())), []
        for value in metrics:
            scale, state = update(state, value)
            peer.append(f32(0.1) * float(scale))
    assert len(set(rates)) > 2
    np.testing.assert_allclose(rates, peer, rtol=1e-12)


def cut_at(metrics, **arguments):
    """Return the places of the values at which the rate was cut."""
    rates = controllers.plateau(metrics, learning_rate=1.0, factor=0.5, **arguments)
    return np.flatnonzero(np.diff(np.concatenate([[1.0], rates]))).tolist()


def test_how_a_plateau_counts():
    flat = [1.0] * 10  # the first is the best, and nine are bad
    assert cut_at(flat, patience=2) == [2, 4, 6, 8]
    assert cut_at(flat, patience=2, counting="torch") == [3, 6, 9]
    assert cut_at(flat, patience=2, counting="keras") == [2, 4, 6, 8]
    assert cut_at(flat, patience=0, counting="torch") == list(range(1, 10))
    assert cut_at(flat, patience=2, cooldown=2) == [2, 6]
    assert cut_at(flat, patience=2, cooldown=2, counting="torch") == [3, 8]
    assert cut_at(flat, patience=2, cooldown=2, counting="keras") == [2, 5, 8]
    assert cut_at(values(), patience=4, counting="torch") == cut_at(values(), patience=5)


def test_which_values_of_a_plateau_are_better():
    falling = [-1.0, -1.05, -1.2, -1.3]  # a margin of a tenth: −1.05 is no improvement of −1
    assert cut_at(falling, patience=1, rtol=0.1) == [1, 3]
    assert cut_at(falling, patience=1, rtol=0.1, mode="max") == [1, 2, 3]
    rising = [-1.0, -0.95, -0.8, -0.75]
    assert cut_at(rising, patience=1, rtol=0.1, mode="max") == [1, 3]
    with_nan = [1.0, np.nan, 0.5, np.nan, np.nan, 0.5]
    assert cut_at(with_nan, patience=2) == [4]
    assert cut_at(with_nan, patience=1, nan="skip") == [5]
    assert cut_at([np.inf, 1.0, 1.0], patience=1) == [0, 2]
    assert cut_at([2.0, np.nan, 1.0, 1.0, 2.0, 2.0], patience=1, window=2, nan="skip") == [4]


def bowl(t, x):
    """½‖x‖² with curvatures 1 and 4, for an array or a list of two."""
    if isinstance(x, list):
        return 0.5 * np.sum(x[0] ** 2) + 2 * np.sum(x[1] ** 2), [x[0], 4 * x[1]]
    h = np.array([1.0, 4.0])
    return 0.5 * np.sum(h * x**2), h * x


START = np.array([2.0, 1.0])  # value 4, gradient (2, 4), its squared norm 20


def test_polyak_by_hand():
    path, rates = controllers.polyak_sgd(bowl, START, 1, max_learning_rate=1.0, f_min=1.0, c=0.5)
    np.testing.assert_allclose(rates, [0.3])
    np.testing.assert_allclose(path[1], START - 0.3 * np.array([2.0, 4.0]))
    _, rates = controllers.polyak_sgd(bowl, START, 9, growth=1.25, max_learning_rate=lambda count: 0.01 + 0.001 * count)
    np.testing.assert_allclose(rates, 0.01 + 0.001 * np.arange(9))
    _, rates = controllers.polyak_sgd(bowl, START, 40, growth=1.25)
    assert np.all(rates[1:] <= 1.25 * rates[:-1]) and np.any(rates[1:] == 1.25 * rates[:-1])
    _, rates = controllers.polyak_sgd(bowl, START * 0, 3)
    assert np.all(rates == 0)
    # the second direction is g + ½·(2, 4)
    path, rates = controllers.polyak_sgd(bowl, START, 2, momentum=0.5)
    f, g = bowl(1, path[1])
    assert rates[1] == pytest.approx(f / np.sum(g * (g + np.array([1.0, 2.0]))))


def test_alig_by_hand():
    _, rates = controllers.alig(bowl, START, 1, delta=5.0)
    np.testing.assert_allclose(rates, [4 / 25])
    _, rates = controllers.alig(bowl, START, 1, max_learning_rate=0.125)
    np.testing.assert_allclose(rates, [0.125])


def value_of(t, x):
    """The value of the bowl."""
    return bowl(t, x)[0]


def test_armijo_by_hand():
    # f(x − η·g) = ½(2 − 2η)² + 2(1 − 4η)² is to be at most 4 − 10η; at 1, ½ and ¼ it is 18, 2.5 and 1.125
    path, rates = controllers.armijo(
        bowl, value_of, START, 2, max_learning_rate=1.0, c=0.5, decrease=0.5, increase=1.5, max_steps=2
    )
    assert rates[0] == 0.25
    f, g = bowl(1, path[1])
    tried = [0.375, 0.1875, 0.09375]
    accepted = [eta for eta in tried if value_of(1, path[1] - eta * g) <= f - 0.5 * eta * np.sum(g**2)]
    assert rates[1] == accepted[0]
    _, rates = controllers.armijo(
        bowl, value_of, START, 2, max_learning_rate=16.0, c=0.5, decrease=0.5, increase=1.0, max_steps=3
    )
    assert rates.tolist() == [0.0, 0.25]  # 16, 8, 4 and 2 fail, and then 2, 1 and ½ do


def test_hypergradient_by_hand():
    options = {"learning_rate": 0.125, "hyper_learning_rate": 2**-6}
    path, rates = controllers.hypergradient(bowl, START, 2, **options)
    last, g = bowl(0, START)[1], bowl(1, path[1])[1]
    np.testing.assert_allclose(rates, [0.125, 0.125 + 2**-6 * np.sum(g * last)])
    _, rates = controllers.hypergradient(bowl, START, 2, mode="multiplicative", **options)
    cos = np.sum(g * last) / np.sqrt(np.sum(g**2) * np.sum(last**2))
    np.testing.assert_allclose(rates, [0.125, 0.125 * (1 + 2**-6 * cos)])
    leaves = [START[:1], START[1:]]
    for mode in ["additive", "multiplicative"]:
        together, _ = controllers.hypergradient(bowl, leaves, 9, mode=mode, momentum=0.5, **options)
        alone, _ = controllers.hypergradient(bowl, START, 9, mode=mode, momentum=0.5, **options)
        np.testing.assert_allclose(np.concatenate(together, axis=1), alone)
    _, rates = controllers.hypergradient(bowl, leaves, 2, per_leaf=True, **options)
    np.testing.assert_allclose(rates[1], 0.125 + 2**-6 * g * last)


@pytest.mark.parametrize("direction", ["momentum", "adam", "gradient"])
def test_l4_by_hand(direction):
    path, rates = controllers.l4(bowl, START, 2, direction=direction, adam_eps=0.0, eps=0.0)
    # the first averages are (2, 4), with Adam's direction (1, 1); 0.15·(4 − 0.9·3) = 0.195
    slope = {"momentum": 20, "adam": 6, "gradient": 20}[direction]
    assert rates[0] == pytest.approx(0.195 / slope)
    f, g = bowl(1, path[1])
    low = min(3 * 1.001, f)
    m = (0.09 * np.array([2.0, 4.0]) + 0.1 * g) / 0.19
    n = (0.999e-3 * np.array([4.0, 16.0]) + 1e-3 * g**2) / 1.999e-3
    v = {"momentum": m, "adam": m / np.sqrt(n), "gradient": g}[direction]
    assert rates[1] == pytest.approx(0.15 * (f - 0.9 * low) / np.sum(m * v), rel=1e-4)


def test_l_dog_is_dog_for_each_leaf():
    leaves = [START[:1], START[1:]]
    path, rates = distance.l_dog(bowl, leaves, 20, reps_rel=0.1)
    for i, h in enumerate([1.0, 4.0]):
        alone, its_rates = distance.dog(lambda t, x, h=h: (0.0, h * x), leaves[i], 20, reps_rel=0.1)
        np.testing.assert_allclose(path[i], alone)
        np.testing.assert_allclose(rates[:, i], its_rates)
    together, _ = distance.dog(bowl, leaves, 20, reps_rel=0.1)
    np.testing.assert_allclose(np.concatenate(together, axis=1), distance.dog(bowl, START, 20, reps_rel=0.1)[0])


def test_a_polynomial_average_by_hand():
    averages = distance.polynomial_average(np.array([5.0, 1.0, 2.0, 4.0]))
    second = 0.1 * 1 + 0.9 * 2
    np.testing.assert_allclose(averages, [5, 1, second, 2 / 11 * second + 9 / 11 * 4])


def test_hdm_by_hand():
    found = distance.hdm(bowl, START, 60, learning_rate=0.125, momentum=0.5)
    np.testing.assert_array_equal(found.path[1], START - found.rates[0] * np.array([2.0, 4.0]))
    np.testing.assert_allclose(found.rates[0], [0.125, 0.125], rtol=1e-9)
    assert found.momenta[0] == 0.5  # no step yet to learn from
    np.testing.assert_array_equal(found.kept[0], START)
    # y_1 = (1.75, 0.5), with value 2.03125 and gradient (1.75, 2)
    p = -np.array([1.75 * 2, 2 * 4]) / 20
    G = np.array([4, 16]) ** 2 / 400 + p**2
    np.testing.assert_allclose(found.rates[1], 0.125 - 0.125 * p / np.sqrt(G), rtol=1e-9)
    np.testing.assert_array_equal(found.kept[1], found.path[1])
    assert found.momenta[1] == 0.5  # x − x⁻ was 0
    y = found.path[1] - found.rates[1] * [1.75, 2] + 0.5 * (found.path[1] - START)
    np.testing.assert_allclose(found.path[2], y)
    kept = [value_of(0, x) for x in found.kept]
    assert np.all(np.diff(kept) <= 0) and kept[-1] < 1e-6 * kept[0]
    one = distance.hdm(bowl, START, 5, learning_rate=0.125, scalar=True)
    assert np.all(one.rates[:, 0] == one.rates[:, 1])
