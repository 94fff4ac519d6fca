"""What the optimizers share: the loop, and numbers that may be functions of the count."""

import numpy as np

from tests.reference.schedules import f32


def trajectory(make, x0, gradients):
    """Return x_0, x_1, …, x_T as one array, where `make` is what `sgd(...)` and the others return."""
    x0 = np.asarray(x0, np.float64)
    gradients = np.asarray(gradients, np.float64)
    return np.stack([x0, *make(x0, gradients)])


def of_count(number_or_function):
    """Return a function of the count, constant where a number was given."""
    if callable(number_or_function):
        return lambda count: float(number_or_function(count))
    return lambda count: f32(number_or_function)


def descend(learning_rate, directions, weight_decay=0.0, law="rate", max_learning_rate=None, cautious=False):
    """Follow directions that don't depend on where they lead: `directions(gradients)` generates u_1, u_2, ….

        x ← x − η_t·u_t − λ_t·x

    where λ_t is, by the law, of λ = weight_decay:

        rate            η_t·λ           as in optax and torch
        independent     λ               Loshchilov & Hutter 2017, arXiv 1711.05101, algorithm 2, whose η_t is 1
        squared         η_t²/η_max·λ    Defazio 2025, arXiv 2506.02285 (AdamC), with η_max = max_learning_rate

    With cautious, λ_t is 0 in the coordinates where u_t·x < 0: Chen et al. 2025, arXiv 2510.12402, algorithm 1.
    """
    eta, decay = of_count(learning_rate), of_count(weight_decay)

    def factor(rate):
        if law == "squared":
            return rate**2 / f32(max_learning_rate)
        return {"rate": rate, "independent": 1.0}[law]

    def iterates(x, gradients):
        for t, u in enumerate(directions(gradients), start=1):
            agrees = (u * x >= 0) | (not cautious)
            x = x - eta(t - 1) * u - factor(eta(t - 1)) * decay(t - 1) * agrees * x
            yield x

    return iterates
