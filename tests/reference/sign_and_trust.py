"""Steps by the sign of the gradient, or in proportion to the leaf's norm. Conventions: `tests.reference.optimizers`."""

import numpy as np

from tests.reference.loop import descend, of_count
from tests.reference.schedules import f32


def sign_sgd(learning_rate):
    """Step by the sign of the gradient.

        u = sign(g),    with sign(0) = 0

    Source: Bernstein et al. 2018, arXiv 1802.04434, algorithm 1.
    """

    def directions(gradients):
        return (np.sign(g) for g in gradients)

    return descend(learning_rate, directions)


def signum(learning_rate, beta=0.9):
    """Step by the sign of the average gradient.

        m ← β·m + (1 − β)·g             m_0 = 0
        u = sign(m)

    Source: Bernstein et al. 2018, arXiv 1802.04434, algorithm 2.
    """
    beta = f32(beta)

    def directions(gradients):
        m = np.zeros_like(gradients[0])
        for g in gradients:
            m = beta * m + (1 - beta) * g
            yield np.sign(m)

    return descend(learning_rate, directions)


def lion(learning_rate, b1=0.9, b2=0.99, *, weight_decay=1e-3):
    """Step by the sign of a mean of gradient and average.

        u = sign(β1·m + (1 − β1)·g)
        m ← β2·m + (1 − β2)·g           m_0 = 0, and used above before it is renewed

    Source: Chen et al. 2023, arXiv 2302.06675, algorithm 2.
    """
    b1, b2 = f32(b1), f32(b2)

    def directions(gradients):
        m = np.zeros_like(gradients[0])
        for g in gradients:
            yield np.sign(b1 * m + (1 - b1) * g)
            m = b2 * m + (1 - b2) * g

    return descend(learning_rate, directions, weight_decay)


def rprop(learning_rate, eta_minus=0.5, eta_plus=1.2, min_step_size=1e-6, max_step_size=50.0, *, convention="optax"):
    """Lengthen a coordinate's step while its gradient keeps its sign, shorten it where the sign changes.

        s = g·h
        Δ ← η⁺·Δ  if s > 0,    η⁻·Δ  if s < 0,    then clipped to [Δ_min, Δ_max]      Δ_0 = learning_rate
        h ← g,   but 0 if s < 0                                                       h_0 = 0
        d = Δ·sign(h)
        x ← x − d                       by the convention of the paper, or
        x ← x − d_(t−1), but x if s < 0 by that of optax 0.2.8, which is a step late: its pull request 1725

    Source: Igel & Hüsken 2003, iRprop⁻: a change of the sign stops the coordinate for one step and doesn't count as
    another change in the next. torch does the same.
    """
    initial, minus, plus = f32(learning_rate), f32(eta_minus), f32(eta_plus)
    least, most = f32(min_step_size), f32(max_step_size)

    def iterates(x, gradients):
        step, h, d = np.full_like(x, initial), np.zeros_like(x), np.zeros_like(x)
        for g in gradients:
            s, last = g * h, d
            step = np.where(s == 0, step, np.clip(np.where(s > 0, plus, minus) * step, least, most))
            h = np.where(s < 0, 0.0, g)
            d = step * np.sign(h)
            x = x - {"paper": d, "optax": np.where(s < 0, 0.0, last)}[convention]
            yield x

    return iterates


def norm(x):
    """Return the Euclidean norm of all entries."""
    return np.sqrt(np.sum(x**2))


def trust_ratio(x, u, eps=0.0):
    """Return ‖x‖/(‖u‖ + ε), or None where either norm is 0: the step is not scaled then."""
    return norm(x) / (norm(u) + eps) if norm(x) > 0 and norm(u) > 0 else None


def lars(learning_rate, weight_decay=0.0, trust_coefficient=0.001, eps=0.0, momentum=0.9, nesterov=False):
    """Momentum on steps that are as long as the leaf's norm says.

        u = g + λ·x
        r = ξ·‖x‖/(‖u‖ + ε),    and 1 where ‖x‖ or ‖u‖ is 0
        m ← μ·m + η·r·u                 m_0 = 0
        x ← x − m,    or, with nesterov,    x ← x − (η·r·u + μ·m)

    with λ = weight_decay, ξ = trust_coefficient, μ = momentum. Source: You, Gitman & Ginsburg 2017, arXiv 1708.03888,
    algorithm 1, whose ratio is ξ·‖x‖/(‖g‖ + λ·‖x‖); here as in optax.
    """
    eta, decay = of_count(learning_rate), of_count(weight_decay)
    xi, eps, mu = f32(trust_coefficient), f32(eps), f32(momentum)

    def iterates(x, gradients):
        m = np.zeros_like(x)
        for t, g in enumerate(gradients, start=1):
            u = g + decay(t - 1) * x
            ratio = trust_ratio(x, u, eps)
            d = eta(t - 1) * (1.0 if ratio is None else xi * ratio) * u
            m = mu * m + d
            x = x - (d + mu * m if nesterov else m)
            yield x

    return iterates


def lamb(learning_rate, b1=0.9, b2=0.999, eps=1e-6, eps_root=0.0, weight_decay=0.0):
    """Adam's steps, made as long as the leaf's norm says.

        m ← β1·m + (1 − β1)·g           m_0 = 0
        v ← β2·v + (1 − β2)·g²          v_0 = 0
        u = m/(1 − β1^t)/(√(v/(1 − β2^t) + ε_root) + ε) + λ·x
        x ← x − η·‖x‖/‖u‖·u,    and x − η·u where ‖x‖ or ‖u‖ is 0

    Source: You et al. 2019, arXiv 1904.00962, algorithm 2, with φ(z) = z.
    """
    eta, decay = of_count(learning_rate), of_count(weight_decay)
    b1, b2, eps, eps_root = f32(b1), f32(b2), f32(eps), f32(eps_root)

    def iterates(x, gradients):
        m, v = np.zeros_like(x), np.zeros_like(x)
        for t, g in enumerate(gradients, start=1):
            m = b1 * m + (1 - b1) * g
            v = b2 * v + (1 - b2) * g**2
            u = m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t) + eps_root) + eps) + decay(t - 1) * x
            ratio = trust_ratio(x, u)
            x = x - eta(t - 1) * (1.0 if ratio is None else ratio) * u
            yield x

    return iterates


def novograd(learning_rate, b1=0.9, b2=0.25, eps=1e-6, eps_root=0.0, weight_decay=0.0):
    """Divide the leaf's gradient by a running average of its norm, then sum.

        v ← β2·v + (1 − β2)·‖g‖²                 v_1 = ‖g‖²
        m ← β1·m + g/(√(v + ε_root) + ε) + λ·x   m_0 = 0
        x ← x − η·m

    Source: Ginsburg et al. 2019, arXiv 1905.11286, algorithm 1; ε_root as in optax.
    """
    eta, decay = of_count(learning_rate), of_count(weight_decay)
    b1, b2, eps, eps_root = f32(b1), f32(b2), f32(eps), f32(eps_root)

    def iterates(x, gradients):
        m, v = np.zeros_like(x), np.sum(gradients[0] ** 2)
        for t, g in enumerate(gradients, start=1):
            v = v if t == 1 else b2 * v + (1 - b2) * np.sum(g**2)
            m = b1 * m + g / (np.sqrt(v + eps_root) + eps) + decay(t - 1) * x
            x = x - eta(t - 1) * m
            yield x

    return iterates
