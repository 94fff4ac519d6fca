"""Relatives of Adam since 2022. Conventions: see `tests.reference.optimizers`."""

import numpy as np

from tests.reference.loop import descend, of_count
from tests.reference.schedules import f32


def adan(learning_rate, b1=0.98, b2=0.92, b3=0.99, eps=1e-8, eps_root=1e-8, weight_decay=0.0, *, convention="optax"):
    """Adam with the momentum of the differences of successive gradients.

        d = g − g_(t−1), and 0 in the first step
        m ← β1·m + (1 − β1)·g                    m_0 = 0
        v ← β2·v + (1 − β2)·d                    v_0 = 0
        n ← β3·n + (1 − β3)·(g + c·d)²           n_0 = 0
        m̂, v̂, n̂ = m/(1 − β1^t), v/(1 − β2^t), n/(1 − β3^t)
        u = (m̂ + c·v̂)/(√(n̂ + ε_root) + ε)

    with c = 1 − β2 by the convention of optax 0.2.8, and c = β2 by that of the paper. Source: Xie et al. 2022, arXiv
    2208.06677, algorithm 1, whose β are 1 minus those here: its factor 1 − β2 is the β2 here. The corrections are
    those of the published code; the decay is decoupled as in optax, where the paper divides by 1 + η·λ.
    """
    b1, b2, b3, eps, eps_root = f32(b1), f32(b2), f32(b3), f32(eps), f32(eps_root)
    c = {"optax": 1 - b2, "paper": b2}[convention]

    def directions(gradients):
        m, v, n = (np.zeros_like(gradients[0]) for _ in range(3))
        last = gradients[0]
        for t, g in enumerate(gradients, start=1):
            d = g - last
            m = b1 * m + (1 - b1) * g
            v = b2 * v + (1 - b2) * d
            n = b3 * n + (1 - b3) * (g + c * d) ** 2
            m_hat, v_hat, n_hat = m / (1 - b1**t), v / (1 - b2**t), n / (1 - b3**t)
            yield (m_hat + c * v_hat) / (np.sqrt(n_hat + eps_root) + eps)
            last = g

    return descend(learning_rate, directions, weight_decay)


def adopt(
    learning_rate,
    b1=0.9,
    b2=0.9999,
    eps=1e-6,
    *,
    nesterov=False,
    use_clipping=True,
    clip_value_fn=lambda count: count**0.25,
):
    """Adam that divides a gradient by the second moment of those before it, and averages afterwards.

        Step 1:    v ← g², and x stays
        t > 1:     h = g/max(√v, ε), clipped to [−c, c] where c = clip_value_fn(t − 1)
                   m ← β1·m + (1 − β1)·h         m_0 = 0
                   u = m,    or, with nesterov,    u = β1·m + (1 − β1)·h
                   v ← β2·v + (1 − β2)·g²

    Source: Taniguchi et al. 2024, arXiv 2411.02853, with its clipping; nesterov as in optax.
    """
    b1, b2, eps = f32(b1), f32(b2), f32(eps)

    def directions(gradients):
        m, v = np.zeros_like(gradients[0]), gradients[0] ** 2
        yield np.zeros_like(gradients[0])
        for count, g in enumerate(gradients[1:], start=1):
            h = g / np.maximum(np.sqrt(v), eps)
            if use_clipping:
                h = np.clip(h, -clip_value_fn(count), clip_value_fn(count))
            m = b1 * m + (1 - b1) * h
            yield b1 * m + (1 - b1) * h if nesterov else m
            v = b2 * v + (1 - b2) * g**2

    return descend(learning_rate, directions)


def ademamix(learning_rate, b1=0.9, b2=0.999, b3=0.9999, alpha=5.0, eps=1e-8, eps_root=0.0, *, weight_decay=0.0):
    """Adam with a second, slower momentum.

        m1 ← β1·m1 + (1 − β1)·g         m1_0 = 0
        m2 ← β3·m2 + (1 − β3)·g         m2_0 = 0
        v ← β2·v + (1 − β2)·g²          v_0 = 0
        u = (m1/(1 − β1^t) + α·m2)/(√(v/(1 − β2^t) + ε_root) + ε)

    m2 is not corrected. β3 and α may be functions of the count. Source: Pagliardini, Ablin & Grangier 2024, arXiv
    2409.03137.
    """
    b1, b2, eps, eps_root = f32(b1), f32(b2), f32(eps), f32(eps_root)
    b3, alpha = of_count(b3), of_count(alpha)

    def directions(gradients):
        m1, m2, v = (np.zeros_like(gradients[0]) for _ in range(3))
        for t, g in enumerate(gradients, start=1):
            m1 = b1 * m1 + (1 - b1) * g
            m2 = b3(t - 1) * m2 + (1 - b3(t - 1)) * g
            v = b2 * v + (1 - b2) * g**2
            yield (m1 / (1 - b1**t) + alpha(t - 1) * m2) / (np.sqrt(v / (1 - b2**t) + eps_root) + eps)

    return descend(learning_rate, directions, weight_decay)


def mars(learning_rate, b1=0.95, b2=0.99, eps=1e-8, *, gamma=0.025, weight_decay=0.0, convention="paper"):
    """AdamW on gradients from which the change since the last step has been extrapolated.

        c = g + γ·β1/(1 − β1)·(g − g_(t−1))
        c ← c/max(1, ‖c‖)                        over the leaf
        m ← β1·m + (1 − β1)·c                    m_0 = 0
        v ← β2·v + (1 − β2)·c²                   v_0 = 0
        u = m/(1 − β1^t)/(√(v/(1 − β2^t)) + ε)

    Source: Yuan et al. 2024, arXiv 2411.10438, MARS-AdamW, approximate version: g_(t−1) is the gradient of the last
    batch. The paper begins with x_1 = x_0, so that c_1 = g_1; the published code has g_0 = 0 (convention="code").
    """
    b1, b2, eps, gamma = f32(b1), f32(b2), f32(eps), f32(gamma)

    def directions(gradients):
        m, v = np.zeros_like(gradients[0]), np.zeros_like(gradients[0])
        last = {"paper": gradients[0], "code": np.zeros_like(gradients[0])}[convention]
        for t, g in enumerate(gradients, start=1):
            c = g + gamma * b1 / (1 - b1) * (g - last)
            c = c / max(1.0, np.sqrt(np.sum(c**2)))
            m = b1 * m + (1 - b1) * c
            v = b2 * v + (1 - b2) * c**2
            yield m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps)
            last = g

    return descend(learning_rate, directions, weight_decay)


def sophia(
    learning_rate,
    b1=0.965,
    b2=0.99,
    eps=1e-8,
    gamma=0.01,
    *,
    weight_decay=0.0,
    k=10,
    gradient,
    hessian_diagonal,
    convention="optax",
):
    """The momentum over the Hessian's diagonal, which is measured every k steps, clipped to [−1, 1].

        m ← β1·m + (1 − β1)·g                              m_0 = 0
        if t mod k = 1:  h ← β2·h + (1 − β2)·ĥ(x)          h_0 = 0; with k = 1 in each step
        x ← x − η·λ·x
        x ← x − η·clip(m/max(γ·h, ε), 1)

    `gradient(x, t)` is g and `hessian_diagonal(x, t)` is ĥ. Source: Liu et al. 2023, arXiv 2305.14342, algorithm 3.
    By the convention of optax 0.2.8, m is divided by 1 − β1^t in the step, which still has the h before it.
    """
    paper = {"optax": False, "paper": True}[convention]
    eta, b1, b2, eps, gamma, decay = of_count(learning_rate), f32(b1), f32(b2), f32(eps), f32(gamma), f32(weight_decay)

    def path(x, steps):
        m, h, points = np.zeros_like(x), np.zeros_like(x), []
        for t in range(1, steps + 1):
            m = b1 * m + (1 - b1) * gradient(x, t)
            before = h
            if t % k == 1 % k:
                h = b2 * h + (1 - b2) * hessian_diagonal(x, t)
            top, below = (m, h) if paper else (m / (1 - b1**t), before)
            x = x - eta(t - 1) * decay * x - eta(t - 1) * np.clip(top / np.maximum(gamma * below, eps), -1, 1)
            points.append(x)
        return np.stack(points)

    return path
