"""Adadelta and the relatives of Adam up to 2020. Conventions: see `tests.reference.optimizers`."""

import numpy as np

from tests.reference.loop import descend, of_count
from tests.reference.schedules import f32


def adadelta(learning_rate, rho=0.9, eps=1e-6, weight_decay=0.0):
    """Divide by the running root mean square of the gradients, multiply by that of the steps.

        g ← g + λ·x
        v ← ρ·v + (1 − ρ)·g²            v_0 = 0
        u = √(s + ε)/√(v + ε)·g
        s ← ρ·s + (1 − ρ)·u²            s_0 = 0, and used above before it is renewed
        x ← x − η·u

    with λ = weight_decay. Source: Zeiler 2012, arXiv 1212.5701, algorithm 1, where η = 1; λ as in optax and torch,
    which agree.
    """
    eta, decay = of_count(learning_rate), of_count(weight_decay)
    rho, eps = f32(rho), f32(eps)

    def iterates(x, gradients):
        v, s = np.zeros_like(x), np.zeros_like(x)
        for t, g in enumerate(gradients, start=1):
            g = g + decay(t - 1) * x
            v = rho * v + (1 - rho) * g**2
            u = np.sqrt(s + eps) / np.sqrt(v + eps) * g
            s = rho * s + (1 - rho) * u**2
            x = x - eta(t - 1) * u
            yield x

    return iterates


def adamax(learning_rate, b1=0.9, b2=0.999, eps=1e-8):
    """`adamaxw` without weight decay."""
    return adamaxw(learning_rate, b1, b2, eps, weight_decay=0.0)


def adamaxw(learning_rate, b1=0.9, b2=0.999, eps=1e-8, weight_decay=1e-4):
    """Adam with a decaying maximum in the place of the root mean square.

        m ← β1·m + (1 − β1)·g           m_0 = 0
        v ← max(β2·v, |g| + ε)          v_0 = 0
        u = m/(1 − β1^t)/v

    Source: Kingma & Ba 2014, arXiv 1412.6980, algorithm 2; ε, which keeps v from being 0, as in optax and torch.
    """
    b1, b2, eps = f32(b1), f32(b2), f32(eps)

    def directions(gradients):
        m, v = np.zeros_like(gradients[0]), np.zeros_like(gradients[0])
        for t, g in enumerate(gradients, start=1):
            m = b1 * m + (1 - b1) * g
            v = np.maximum(b2 * v, np.abs(g) + eps)
            yield m / (1 - b1**t) / v

    return descend(learning_rate, directions, weight_decay)


def nadam(learning_rate, b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0, *, momentum_decay=None):
    """`nadamw` without weight decay."""
    return nadamw(learning_rate, b1, b2, eps, eps_root, weight_decay=0.0, momentum_decay=momentum_decay)


def nadamw(learning_rate, b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0, weight_decay=1e-4, *, momentum_decay=None):
    """Adam with Nesterov momentum.

        μ_t = β1, or β1·(1 − ½·0.96^(t·ψ)) with ψ = momentum_decay
        M_t = μ_1·μ_2⋯μ_t
        m ← β1·m + (1 − β1)·g           m_0 = 0
        v ← β2·v + (1 − β2)·g²          v_0 = 0
        m̂ = μ_(t+1)·m/(1 − M_(t+1)) + (1 − μ_t)·g/(1 − M_t)
        u = m̂/(√(v/(1 − β2^t) + ε_root) + ε)

    Source: Dozat 2016, algorithm 2 (ψ = 1/250 there), which also multiplies v̂ by β2: optax and torch do not. optax
    has the constant μ, torch's NAdam the schedule, with ψ = 0.004; both average m with β1.
    """
    b1, b2, eps, eps_root = f32(b1), f32(b2), f32(eps), f32(eps_root)

    def mu(t):
        return b1 if momentum_decay is None else b1 * (1 - 0.5 * 0.96 ** (t * f32(momentum_decay)))

    def directions(gradients):
        m, v, product = np.zeros_like(gradients[0]), np.zeros_like(gradients[0]), 1.0
        for t, g in enumerate(gradients, start=1):
            product = product * mu(t)
            m = b1 * m + (1 - b1) * g
            v = b2 * v + (1 - b2) * g**2
            m_hat = mu(t + 1) * m / (1 - product * mu(t + 1)) + (1 - mu(t)) * g / (1 - product)
            yield m_hat / (np.sqrt(v / (1 - b2**t) + eps_root) + eps)

    return descend(learning_rate, directions, weight_decay)


def amsgrad(
    learning_rate,
    b1=0.9,
    b2=0.999,
    eps=1e-8,
    eps_root=0.0,
    *,
    bias_correction_mu=True,
    bias_correction_nu=True,
    convention="optax",
):
    """Adam with a second moment that never falls.

        m ← β1·m + (1 − β1)·g           m_0 = 0
        v ← β2·v + (1 − β2)·g²          v_0 = 0
        v̂ ← max(v̂, v/(1 − β2^t))        by the convention of optax, or
        w ← max(w, v), v̂ = w/(1 − β2^t) by the convention of torch
        u = m/(1 − β1^t)/(√(v̂ + ε_root) + ε)

    Either correction can be left out. Source: Reddi, Kale & Kumar 2018, arXiv 1904.09237, algorithm 2, which has no
    corrections.
    """
    b1, b2, eps, eps_root = f32(b1), f32(b2), f32(eps), f32(eps_root)

    def directions(gradients):
        m, v, largest = (np.zeros_like(gradients[0]) for _ in range(3))
        for t, g in enumerate(gradients, start=1):
            m = b1 * m + (1 - b1) * g
            v = b2 * v + (1 - b2) * g**2
            m_hat = m / (1 - b1**t) if bias_correction_mu else m
            correction = 1 - b2**t if bias_correction_nu else 1.0
            if convention == "optax":
                largest = np.maximum(largest, v / correction)
                v_hat = largest
            elif convention == "torch":
                largest = np.maximum(largest, v)
                v_hat = largest / correction
            yield m_hat / (np.sqrt(v_hat + eps_root) + eps)

    return descend(learning_rate, directions)


def radam(learning_rate, b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0, threshold=5.0, *, nesterov=False):
    """Adam whose steps are rectified for the variance of the second moment, and plain momentum while that is infinite.

        m ← β1·m + (1 − β1)·g           m_0 = 0
        v ← β2·v + (1 − β2)·g²          v_0 = 0
        m̂ = m/(1 − β1^t),     or, with nesterov,    m̂ = β1·m/(1 − β1^(t+1)) + (1 − β1)·g/(1 − β1^t)
        ρ_∞ = 2/(1 − β2) − 1
        ρ = ρ_∞ − 2·t·β2^t/(1 − β2^t)
        r = √[(ρ − 4)(ρ − 2)ρ_∞ / ((ρ_∞ − 4)(ρ_∞ − 2)ρ)]
        u = r·m̂/(√(v/(1 − β2^t) + ε_root) + ε)    if ρ ≥ threshold
        u = m̂                                     otherwise

    Source: Liu et al. 2019, arXiv 1908.03265, algorithm 2, whose threshold is ρ > 4; that of optax and torch is 5.
    torch's ε is added to √v before the correction, where it counts for ε/√(1 − β2^t).
    """
    b1, b2, eps, eps_root, threshold = f32(b1), f32(b2), f32(eps), f32(eps_root), f32(threshold)
    limit = 2 / (1 - b2) - 1

    def directions(gradients):
        m, v = np.zeros_like(gradients[0]), np.zeros_like(gradients[0])
        for t, g in enumerate(gradients, start=1):
            m = b1 * m + (1 - b1) * g
            v = b2 * v + (1 - b2) * g**2
            m_hat = m / (1 - b1**t)
            if nesterov:
                m_hat = b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
            rho = limit - 2 * t * b2**t / (1 - b2**t)
            if rho >= threshold:
                r = np.sqrt((rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho))
                yield r * m_hat / (np.sqrt(v / (1 - b2**t) + eps_root) + eps)
            else:
                yield m_hat

    return descend(learning_rate, directions)


def adabelief(learning_rate, b1=0.9, b2=0.999, eps=1e-16, eps_root=1e-16, *, nesterov=False):
    """Adam with the deviation of the gradient from its mean in the place of the gradient.

        m ← β1·m + (1 − β1)·g                    m_0 = 0
        s ← β2·s + (1 − β2)·(g − m)² + ε_root    s_0 = 0
        m̂ = m/(1 − β1^t),     or, with nesterov,    m̂ = β1·m/(1 − β1^(t+1)) + (1 − β1)·g/(1 − β1^t)
        u = m̂/(√(s/(1 − β2^t)) + ε)

    ε_root is added to the memory in every step, and so grows up to ε_root/(1 − β2). Source: Zhuang et al. 2020, arXiv
    2010.07468, algorithm 2.
    """
    b1, b2, eps, eps_root = f32(b1), f32(b2), f32(eps), f32(eps_root)

    def directions(gradients):
        m, s = np.zeros_like(gradients[0]), np.zeros_like(gradients[0])
        for t, g in enumerate(gradients, start=1):
            m = b1 * m + (1 - b1) * g
            s = b2 * s + (1 - b2) * (g - m) ** 2 + eps_root
            m_hat = m / (1 - b1**t)
            if nesterov:
                m_hat = b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
            yield m_hat / (np.sqrt(s / (1 - b2**t)) + eps)

    return descend(learning_rate, directions)


def yogi(learning_rate, b1=0.9, b2=0.999, eps=1e-3):
    """Adam whose second moment changes by no more than (1 − β2)·g², in either direction.

        m ← β1·m + (1 − β1)·g                    m_0 = 1e-6
        v ← v − (1 − β2)·sign(v − g²)·g²         v_0 = 1e-6
        u = m/(1 − β1^t)/(√(v/(1 − β2^t)) + ε)

    Source: Zaheer et al. 2018, "Adaptive methods for nonconvex optimization", algorithm 2; the corrections and the
    initial value of both moments as in optax.
    """
    b1, b2, eps = f32(b1), f32(b2), f32(eps)

    def directions(gradients):
        m, v = np.full_like(gradients[0], 1e-6), np.full_like(gradients[0], 1e-6)
        for t, g in enumerate(gradients, start=1):
            m = b1 * m + (1 - b1) * g
            v = v - (1 - b2) * np.sign(v - g**2) * g**2
            yield m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps)

    return descend(learning_rate, directions)
