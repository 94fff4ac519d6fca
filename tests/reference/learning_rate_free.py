"""Optimizers that find the size of their steps while they run. Conventions: see `tests.reference.optimizers`.

The rate of these is a factor, 1 if all goes well. Sums, norms and inner products are those of the whole array, and
"over all coordinates" of the methods here means over all leaves: one estimate d, or one scale, for all parameters.
"""

import numpy as np

from tests.reference.loop import of_count
from tests.reference.schedules import f32


def prodigy(
    learning_rate=1.0,
    betas=(0.9, 0.999),
    beta3=None,
    eps=1e-8,
    estim_lr0=1e-6,
    estim_lr_coef=1.0,
    weight_decay=0.0,
    safeguard_warmup=False,
    *,
    use_bias_correction=True,
    slice_p=1,
    growth_rate=np.inf,
    estim_lr_max=np.inf,
    growth_steps=np.inf,
    convention="code",
):
    """Adam with the step size that would have been right so far, by sums in which late steps weigh most.

        b = √(1 − β2^t)/(1 − β1^t),  or 1 without use_bias_correction
        δ = d·η·b                                                       d_1 = d0
        r ← β3·r + (d/d0)·δ·⟨g, x_0 − x⟩                                r_0 = 0
        s ← β3·s + (d/d0)·δ·g,  with safeguard_warmup  (d/d0)·d·g       s_0 = 0
        m ← β1·m + (1 − β1)·d·g                                         m_0 = 0
        v ← β2·v + (1 − β2)·d²·g²                                       v_0 = 0
        d̂ = c·r/‖s‖₁,  and d where s = 0
        d' = max(d, d̂)
        x ← x − δ·λ·x − δ·m/(√v + d'·ε)
        d ← d'

    with d0 = estim_lr0, c = estim_lr_coef, λ = weight_decay. Only ε meets the new d' in the step that finds it; the
    published code and optax 0.2.8 agree in this, and the paper has d·ε (convention="paper"). x_0 − x, g in r, and s
    are restricted to the coordinates 0, p, 2p, … of the flattened array, p = slice_p, as in the published code. Its
    corrections are off by default, and optax's are always on. Growth, in the code only: d̂ is remembered at its
    largest, and d' = min(that, d·growth_rate), but unbounded as long as d = d0. Of lrx are the cap, d' ≤ estim_lr_max
    unless d0 is more, and the end of the growth, d' = d after growth_steps. Where s = 0 the code takes no step
    and does not count it, and optax divides 0 by 0. Source: Mishchenko & Defazio 2023, arXiv 2306.06101, the version
    for Adam.
    """
    eta = of_count(learning_rate)
    b1, b2 = f32(betas[0]), f32(betas[1])
    b3 = np.sqrt(b2) if beta3 is None else f32(beta3)
    eps, d0, coef, decay = f32(eps), f32(estim_lr0), f32(estim_lr_coef), f32(weight_decay)
    growth = f32(growth_rate)

    def iterates(x, gradients):
        def part(array):
            return array.reshape(-1)[::slice_p]

        start, s, r = part(x), np.zeros_like(part(x)), 0.0
        m, v = np.zeros_like(x), np.zeros_like(x)
        d, largest = d0, d0
        for t, g in enumerate(gradients, start=1):
            b = np.sqrt(1 - b2**t) / (1 - b1**t) if use_bias_correction else 1.0
            delta = d * eta(t - 1) * b
            r = b3 * r + d / d0 * delta * np.sum(part(g) * (start - part(x)))
            s = b3 * s + d / d0 * (d if safeguard_warmup else delta) * part(g)
            m = b1 * m + (1 - b1) * d * g
            v = b2 * v + (1 - b2) * d**2 * g**2
            norm = np.sum(np.abs(s))
            d_hat = coef * r / norm if norm > 0 else d
            largest = max(largest, d_hat)
            new = min(largest, (max(d, d_hat) if d == d0 else d) * growth)
            new = max(d, min(new, f32(estim_lr_max))) if t <= growth_steps else d
            denominator = np.sqrt(v) + {"code": new, "paper": d}[convention] * eps
            step = np.divide(m, denominator, out=np.zeros_like(m), where=denominator > 0)
            x = x - delta * decay * x - delta * step
            d = new
            yield x

    return iterates


def dadapt_sgd(
    learning_rate=1.0,
    momentum=0.0,
    estim_lr0=1e-6,
    weight_decay=0.0,
    *,
    growth_rate=np.inf,
    convention="code",
):
    """Gradient descent from x_0 with steps of a distance that the gradients so far prove to be left.

        G = ‖g_1‖
        g ← g + λ·x
        δ = d·η/G                                                       d_1 = d0
        r ← r + δ·⟨g, s⟩                                                r_0 = 0
        s ← s + δ·g                                                     s_0 = 0
        d ← max(d, min(2·r/‖s‖, d·growth_rate))
        x ← β·x + (1 − β)·(x_0 − s)

    with d0 = estim_lr0, λ = weight_decay, β = momentum. 2·r = ‖s‖² − Σ δ²‖g‖², which is how the first releases of the
    code have it. G is without the decay in the code, where x is added to a copy that is not kept; with
    convention="paper" G = ‖g_1 + λ·x_0‖. Source: Defazio & Mishchenko 2023, arXiv 2301.07733, the version for SGD, and
    its published code.
    """
    eta, beta, d0 = of_count(learning_rate), f32(momentum), f32(estim_lr0)
    decay, growth = f32(weight_decay), f32(growth_rate)

    def iterates(x, gradients):
        start, s, r, d = x, np.zeros_like(x), 0.0, d0
        norm = np.linalg.norm(gradients[0] + {"code": 0.0, "paper": decay}[convention] * x)
        for t, g in enumerate(gradients, start=1):
            g = g + decay * x
            delta = d * eta(t - 1) / norm
            r = r + delta * np.sum(g * s)
            s = s + delta * g
            d = max(d, min(2 * r / np.linalg.norm(s), d * growth))
            x = beta * x + (1 - beta) * (start - s)
            yield x

    return iterates


def dadapt_adagrad(
    learning_rate=1.0,
    momentum=0.0,
    eps=1e-6,
    estim_lr0=1e-6,
    weight_decay=0.0,
    *,
    growth_rate=np.inf,
    initial_accumulator_value=1e-6,
):
    """AdaGrad's dual averages, with the distance from `dadapt_sgd`'s idea in the norm of the preconditioner.

        g ← g + λ·x
        δ = d·η                                                         d_1 = d0
        a ← a + g²                                                      a_0 = initial_accumulator_value
        D = √a + ε
        q ← q + δ²·Σ g²/D                                               q_0 = 0
        s ← s + δ·g                                                     s_0 = 0
        d ← max(d, min((Σ s²/D − q)/‖s‖₁, d·growth_rate))
        x ← β·x + (1 − β)·(x_0 − s/D)

    with d0 = estim_lr0, λ = weight_decay, β = momentum. Source: the published code for Defazio & Mishchenko 2023, arXiv
    2301.07733, which starts a at 10⁻⁶ and does not halve the estimate.
    """
    eta, beta, eps, d0 = of_count(learning_rate), f32(momentum), f32(eps), f32(estim_lr0)
    decay, growth, a0 = f32(weight_decay), f32(growth_rate), f32(initial_accumulator_value)

    def iterates(x, gradients):
        start, s, a, q, d = x, np.zeros_like(x), np.full_like(x, a0), 0.0, d0
        for t, g in enumerate(gradients, start=1):
            g = g + decay * x
            delta = d * eta(t - 1)
            a = a + g**2
            root = np.sqrt(a) + eps
            q = q + delta**2 * np.sum(g**2 / root)
            s = s + delta * g
            d = max(d, min((np.sum(s**2 / root) - q) / np.sum(np.abs(s)), d * growth))
            x = beta * x + (1 - beta) * (start - s / root)
            yield x

    return iterates


def dadapt_adamw(
    learning_rate=1.0,
    betas=(0.9, 0.999),
    eps=1e-8,
    estim_lr0=1e-6,
    weight_decay=0.0,
    *,
    growth_rate=np.inf,
    use_bias_correction=True,
):
    """Adam with the distance from `dadapt_sgd`'s idea, of which it forgets the beginning.

        b = √(1 − β2^t)/(1 − β1^t),  or 1 without use_bias_correction
        δ = d·η·b                                                       d_1 = d0
        r ← σ·r + (1 − σ)·δ·⟨g, s/(√v + ε)⟩                             r_0 = 0, with s and v from the last step
        m ← β1·m + (1 − β1)·δ·g                                         m_0 = 0
        v ← β2·v + (1 − β2)·g²                                          v_0 = 0
        s ← σ·s + (1 − σ)·δ·g                                           s_0 = 0
        d ← max(d, min(r/((1 − σ)·‖s‖₁), d·growth_rate))
        x ← x − δ·λ·x − m/(√v + ε)                                      δ with the old d

    with σ = √β2, d0 = estim_lr0, λ = weight_decay. Source: Defazio & Mishchenko 2023, arXiv 2301.07733, the version for
    Adam, and its published code, whose corrections are off by default, where optax 0.2.8 has them always on and knows
    no growth_rate.
    """
    eta = of_count(learning_rate)
    b1, b2, eps, d0 = f32(betas[0]), f32(betas[1]), f32(eps), f32(estim_lr0)
    decay, growth, sigma = f32(weight_decay), f32(growth_rate), np.sqrt(f32(betas[1]))

    def iterates(x, gradients):
        m, v, s = np.zeros_like(x), np.zeros_like(x), np.zeros_like(x)
        r, d = 0.0, d0
        for t, g in enumerate(gradients, start=1):
            b = np.sqrt(1 - b2**t) / (1 - b1**t) if use_bias_correction else 1.0
            delta = d * eta(t - 1) * b
            r = sigma * r + (1 - sigma) * delta * np.sum(g * s / (np.sqrt(v) + eps))
            m = b1 * m + (1 - b1) * delta * g
            v = b2 * v + (1 - b2) * g**2
            s = sigma * s + (1 - sigma) * delta * g
            norm = np.sum(np.abs(s))
            if norm > 0:
                d = max(d, min(r / ((1 - sigma) * norm), d * growth))
            x = x - delta * decay * x - m / (np.sqrt(v) + eps)
            yield x

    return iterates


def mechanic(learning_rate, directions, weight_decay=1e-2, eps=1e-8, s_init=1e-6, num_betas=6):
    """Multiply all that the directions have added up to by a scale that n bettors find, one for every memory.

        S = Σ s                                                         s_0 = s_init for each of n
        Δ = (x_0 − x)/(S + ε)
        h = ⟨g + λ·S·‖g‖/(‖x‖ + ε)·x, Δ⟩
        h' = h, clipped to [−m, m] by each
        m ← max(β·m, |h| + ε)                                           m_0 = 0
        v ← β²·v + h²                                                   v_0 = 0
        r ← β·r + h'·s                                                  r_0 = 0
        s ← (s_init/n·m + max(r, 0))/(√v + ε)
        x ← x_0 − Σ s·(Δ + η·u)

    where u is the step's direction, n = num_betas and β = 1 − 10^(−1), …, 1 − 10^(−n). Source: Cutkosky, Defazio &
    Mehta 2023, arXiv 2306.00144, algorithm 1, in the form of optax 0.2.8, whose authors they are too. Their package for
    torch instead begins at s = 0 and m = 10⁻⁶, has neither a clip nor ε in m, cuts r itself off at 0, and decays by the
    x after a step of the inner optimizer.
    """
    eta = of_count(learning_rate)
    decay, eps, s_init = f32(weight_decay), f32(eps), f32(s_init)
    beta = 1 - 0.1 ** np.arange(1, num_betas + 1)

    def iterates(x, gradients):
        start, s = x, np.full(num_betas, s_init)
        m, v, r = np.zeros(num_betas), np.zeros(num_betas), np.zeros(num_betas)
        for t, (g, u) in enumerate(zip(gradients, directions(gradients), strict=True), start=1):
            total = np.sum(s)
            delta = (start - x) / (total + eps)
            decayed = g + decay * total * np.linalg.norm(g) / (np.linalg.norm(x) + eps) * x
            h = np.sum(decayed * delta)
            clipped = np.clip(h, -m, m)
            m = np.maximum(beta * m, abs(h) + eps)
            v = beta**2 * v + h**2
            r = beta * r + clipped * s
            s = (s_init / num_betas * m + np.maximum(r, 0)) / (np.sqrt(v) + eps)
            x = start - np.sum(s) * (delta + eta(t - 1) * u)
            yield x

    return iterates
