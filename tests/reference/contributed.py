"""Optimizers of optax.contrib that are not elsewhere. Conventions: see `tests.reference.optimizers`."""

import numpy as np

from tests.reference.loop import descend, of_count
from tests.reference.schedules import f32


def acprop(learning_rate, b1=0.9, b2=0.999, eps=1e-16, eps_root=1e-16, weight_decay=0.0):
    """AdaBelief whose divisor is that of the step before, and whose step has no momentum.

        u = g/(1 + ε) in step 1,   g/(√(s/(1 − β2^(t−1))) + ε) later
        s ← β2·s + (1 − β2)·(g − m)² + ε_root        s_0 = 0
        m ← β1·m + (1 − β1)·g                        m_0 = 0

    in this order. Source: Zhuang et al. 2021, arXiv 2110.05454, with the first step and the m of optax.
    """
    b1, b2, eps, eps_root = f32(b1), f32(b2), f32(eps), f32(eps_root)

    def directions(gradients):
        m, s = np.zeros_like(gradients[0]), np.zeros_like(gradients[0])
        for t, g in enumerate(gradients, start=1):
            s_hat = s / (1 - b2 ** (t - 1)) if t > 1 else np.ones_like(s)
            yield g / (np.sqrt(s_hat) + eps)
            s = b2 * s + (1 - b2) * (g - m) ** 2 + eps_root
            m = b1 * m + (1 - b1) * g

    return descend(learning_rate, directions, weight_decay)


def simplified_ademamix(learning_rate, b1=0.99, b2=0.95, alpha=0.0, eps=1e-8, eps_root=0.0, weight_decay=0.0):
    """Adam with a sum in place of the mean, and the newest gradient once more.

        m ← β1·m + g                     m_0 = 0
        n ← β2·n + (1 − β2)·g²           n_0 = 0
        u = (m + α·g)/(√(n/(1 − β2^t) + ε_root) + ε)

    Source: Morwani et al. 2025, arXiv 2502.02431. α may be a function of the count.
    """
    b1, b2, eps, eps_root, alpha = f32(b1), f32(b2), f32(eps), f32(eps_root), of_count(alpha)

    def directions(gradients):
        m, n = np.zeros_like(gradients[0]), np.zeros_like(gradients[0])
        for t, g in enumerate(gradients, start=1):
            m = b1 * m + g
            n = b2 * n + (1 - b2) * g**2
            yield (m + alpha(t - 1) * g) / (np.sqrt(n / (1 - b2**t) + eps_root) + eps)

    return descend(learning_rate, directions, weight_decay)


def madgrad(learning_rate, momentum=0.9, weight_decay=0.0, eps=1e-6):
    """Dual averaging with cube roots.

        g ← g + w·x
        λ = (η + ε)·√(k + 1)                         k = t − 1
        s ← s + λ·g,    ν ← ν + λ·g²                 s_0 = ν_0 = 0
        z = x_0 − s/(∛ν + ε)
        x ← (1 − c)·x + c·z                          c = 1 − momentum

    Source: Defazio & Jelassi 2021, arXiv 2101.11075, algorithm 1, with the ε of its code.
    """
    eta, momentum, w, eps = of_count(learning_rate), f32(momentum), f32(weight_decay), f32(eps)

    def iterates(x, gradients):
        x0, s, nu = x, np.zeros_like(x), np.zeros_like(x)
        for k, gradient in enumerate(gradients):
            g = gradient + w * x
            lamb = (eta(k) + eps) * np.sqrt(k + 1)
            s, nu = s + lamb * g, nu + lamb * g**2
            z = x0 - s / (np.cbrt(nu) + eps)
            x = momentum * x + (1 - momentum) * z
            yield x

    return iterates


def normalize(gradients):
    """Each gradient divided by its norm."""
    for g in gradients:
        yield g / np.sqrt(np.sum(g**2))
