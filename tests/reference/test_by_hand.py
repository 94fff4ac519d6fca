"""First steps, computed by hand, of the optimizers that optax and the record of torch lack."""

import math

import ml_dtypes
import numpy as np
import pytest

from tests.reference import loop, optimizers
from tests.reference.compare import random_problem
from tests.reference.optimizers import trajectory


def decaying(count):
    """Return a rate that changes at every count."""
    return 0.5 / (1 + count)


def path_of(make, x0, *gradients):
    """Return the parameters after each of the gradients."""
    return trajectory(make, np.array(x0, float), np.array(gradients, float))[1:]


def test_first_steps_of_adan_by_the_paper():
    """With β1 = β3 = 0 there is no memory but the difference, of which the paper takes β2 and optax 1 − β2."""
    arguments = {"b1": 0.0, "b2": 0.75, "b3": 0.0, "eps": 0.0, "eps_root": 0.0}
    # d = 0; then d = 2, v = 0.25·2 and v̂ = v/(1 − 0.75²) = 8/7; u = (3 + c·8/7)/(3 + c·2)
    for convention, c in [("paper", 0.75), ("optax", 0.25)]:
        path = path_of(optimizers.adan(1.0, **arguments, convention=convention), [0.0], [1.0], [3.0])
        np.testing.assert_allclose(path[:, 0], [-1, -1 - (3 + c * 8 / 7) / (3 + c * 2)], rtol=1e-15)


def test_rprop_by_the_paper():
    """A sign that is kept makes the step longer; one that changes halves it, and stops the coordinate once."""
    gradients = [[1.0], [3.0], [-1.0], [-1.0], [-1.0], [0.0], [-1.0]]
    path = path_of(optimizers.rprop(1.0, eta_plus=2.0, max_step_size=3.0, convention="paper"), [0.0], *gradients)
    np.testing.assert_array_equal(np.diff(path[:, 0], prepend=0), [-1, -2, 0, 1, 2, 0, 2])
    path = path_of(optimizers.rprop(1.0, eta_plus=4.0, max_step_size=3.0, convention="paper"), [0.0], *gradients)
    np.testing.assert_array_equal(np.diff(path[:, 0], prepend=0), [-1, -3, 0, 1.5, 3, 0, 3])


def test_first_steps_of_mars():
    """There is no correction at first, and a leaf's corrected gradient is no longer than 1."""
    arguments = {"b1": 0.5, "b2": 0.5, "eps": 1.0, "gamma": 0.5}
    # c = 0.5 + 0 by the paper, 0.5 + 0.25 by the code; then 0.25 − 0.125; m̂ = (c_1/4 + c/2)/(3/4)
    for convention, c in [("paper", 0.5), ("code", 0.75)]:
        path = path_of(optimizers.mars(1.0, **arguments, convention=convention), [0.0], [0.5], [0.25])
        second = (c / 4 + 0.125 / 2) / 0.75 / (1 + math.sqrt((c**2 / 4 + 0.015625 / 2) / 0.75))
        np.testing.assert_allclose(path[:, 0], [-c / (1 + c), -c / (1 + c) - second], rtol=1e-15)
    # c = (3, 4), whose length is 5, becomes (0.6, 0.8); the decay is outside
    path = path_of(optimizers.mars(1.0, **arguments, weight_decay=0.5), [2.0, 0.0], [3.0, 4.0])
    np.testing.assert_allclose(path[0], [2 - 0.6 / 1.6 - 1, -0.8 / 1.8], rtol=1e-15)


def test_first_steps_of_adam_mini():
    """A matrix has a second moment per column, a vector has one, and so has a scalar."""
    column = 5.0  # √mean(1, 49), √mean(7, 43), …
    path = path_of(optimizers.adam_mini(1.0, eps=0.0), np.zeros((2, 2)), [[1.0, 0.0], [7.0, 2.0]])
    np.testing.assert_allclose(path[0], [[-1 / column, 0], [-7 / column, -math.sqrt(2)]], rtol=1e-15)
    path = path_of(optimizers.adam_mini(1.0, eps=0.0, weight_decay=0.5), [2.0, 0.0], [1.0, 7.0])
    np.testing.assert_allclose(path[0], [2 - 1 / column - 1, -7 / column], rtol=1e-15)
    # β = ½: v̂ = (½·¼·1 + ½·9)/¾, …
    path = path_of(optimizers.adam_mini(1.0, 0.5, 0.5, eps=0.0), 0.0, 1.0, 3.0)
    np.testing.assert_allclose(path, [-1, -1 - (0.25 + 1.5) / 0.75 / math.sqrt((0.25 + 4.5) / 0.75)], rtol=1e-15)
    x0, gradients = random_problem((1, 8))
    np.testing.assert_array_equal(
        trajectory(optimizers.adam_mini(0.1), x0, gradients), trajectory(optimizers.adam(0.1), x0, gradients)
    )


def test_cautious():
    """A coordinate in four agrees with its gradient, and takes four times its step; none does, and none moves."""
    directions = optimizers.cautious(lambda gradients: iter(np.array([[1.0, 2.0, 3.0, 0.0], [-1.0, 1.0, 1.0, 1.0]])))
    path = path_of(loop.descend(1.0, directions), np.zeros(4), [1.0, -1.0, 0.0, 1.0], [1.0, -1.0, 0.0, -1.0])
    np.testing.assert_array_equal(path, [[-4, 0, 0, 0], [-4, 0, 0, 0]])
    # one in 2,000 is less than the bound
    u = optimizers.cautious(lambda gradients: iter(gradients))
    assert next(u(np.eye(1, 2000)))[0] == 1 / 1e-3


def test_decay_laws():
    """The decay of rates 4 and 2, of which 4 is the largest: 4λ and 2λ, λ and λ, 4λ and λ."""

    def factors(**arguments):
        still = lambda gradients: iter(np.zeros_like(gradients))  # noqa: E731
        rate = lambda count: (4.0, 2.0)[count]  # noqa: E731
        path = path_of(loop.descend(rate, still, 0.125, **arguments), [1.0], [1.0], [1.0])[:, 0]
        return [path[0], path[1] / path[0]]

    assert factors() == [1 - 0.5, 1 - 0.25]
    assert factors(law="independent") == [1 - 0.125, 1 - 0.125]
    assert factors(law="squared", max_learning_rate=4.0) == [1 - 0.5, 1 - 0.125]
    with pytest.raises(KeyError):
        factors(law="cubed")


def test_decay_in_one_law_is_that_in_another():
    """AdamW is Adam with an independent decay that follows the rate; a constant rate makes the squared law AdamW's."""
    x0, gradients = random_problem()
    directions = optimizers.adam_directions()
    followed = trajectory(optimizers.adamw(decaying, weight_decay=0.5), x0, gradients)
    follows = loop.descend(decaying, directions, lambda count: 0.5 * decaying(count), law="independent")
    np.testing.assert_allclose(followed, trajectory(follows, x0, gradients), rtol=1e-12)
    constant = trajectory(loop.descend(0.5, directions, 0.25), x0, gradients)
    squared = loop.descend(0.5, directions, 0.25, law="squared", max_learning_rate=0.5)
    np.testing.assert_allclose(constant, trajectory(squared, x0, gradients), rtol=1e-12)


def test_kahan_sum_keeps_what_rounding_loses():
    """A thousand additions of 2^-10 to 1 in bfloat16, whose spacing at 1 is 2^-7, and of random numbers to random ones.

    Without the compensation none of the thousand would move it. With it the sum is never further from the truth than
    the two roundings of x and c.
    """
    path = optimizers.kahan_sum(np.ones(1), np.full((1000, 1), 2.0**-10), ml_dtypes.bfloat16)
    assert path.dtype == ml_dtypes.bfloat16
    # four additions are half the spacing, a tie that goes to the even 1; five are more
    np.testing.assert_array_equal(path[:8, 0], [1, 1, 1, 1, 1, 1 + 2**-7, 1 + 2**-7, 1 + 2**-7])
    assert abs(float(path[-1, 0]) - (1 + 1000 / 1024)) <= 2**-8
    rng = np.random.default_rng(0)
    x0 = rng.standard_normal(100).astype(ml_dtypes.bfloat16).astype(np.float64)
    updates = 1e-3 * rng.standard_normal((1000, 100))
    exact = x0 + np.cumsum(updates, axis=0)
    path = optimizers.kahan_sum(x0, updates, ml_dtypes.bfloat16).astype(np.float64)[1:]
    largest = np.maximum(np.abs(exact), np.abs(path)).max(axis=0)
    assert np.all(np.abs(path - exact) <= 2**-8 * largest)
