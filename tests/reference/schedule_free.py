"""Optimizers whose average takes the place of a schedule. Conventions: see `tests.reference.optimizers`.

They keep z, where the steps are taken, and x, a weighted average of all z, and want the gradients at a point y between
the two. Each reference yields y_1, y_2, …, the parameters in training, or, with averages=True, x_1, x_2, …
"""

import numpy as np

from tests.reference.loop import of_count
from tests.reference.schedules import f32


def schedule_free(
    learning_rate,
    directions,
    b1=0.9,
    weight_decay=0.0,
    r=0.0,
    weight_lr_power=2.0,
    *,
    decoupling=None,
    averages=False,
    convention="code",
):
    """Take the steps of any directions at z, and average.

        u ← u + λ·y                     u: the direction of the gradient at y = y_(t−1), and x_0 = y_0 = z_0
        γ_max ← max(γ_max, γ_t)         0 at first
        w = t^r·γ_max^p
        W ← W + w                       W_0 = 0
        c = w/W,  and 0 where W = 0;    with a decoupling C    c ← min(1, c·(1 − β)·C)
        z ← z − γ_t·u
        x ← (1 − c)·x + c·z
        y ← (1 − β)·z + β·x

    with γ_t = learning_rate(t − 1), β = b1, λ = weight_decay, p = weight_lr_power. In optax 0.2.8 (convention="optax")
    the weights take γ_(t+1) for γ_t, which is the same for a constant rate. Source: Defazio et al. 2024, arXiv
    2405.15682, and its published code, which has r and p. C: Song et al. 2025, arXiv 2507.09846; 1/(1 − β) changes
    nothing.
    """
    gamma, beta, decay = of_count(learning_rate), f32(b1), f32(weight_decay)
    r, power = f32(r), f32(weight_lr_power)
    ahead = {"code": 0, "optax": 1}[convention]

    def iterates(y, gradients):
        z, x = y, y
        largest, total = 0.0, 0.0
        for t, u in enumerate(directions(gradients), start=1):
            u = u + decay * y
            largest = max(largest, gamma(t - 1 + ahead))
            weight = t**r * largest**power
            total = total + weight
            c = weight / total if total > 0 else 0.0
            if decoupling is not None:
                c = min(1.0, c * (1 - beta) * f32(decoupling))
            z = z - gamma(t - 1) * u
            x = (1 - c) * x + c * z
            y = (1 - beta) * z + beta * x
            yield x if averages else y

    return iterates


def warmed_up(learning_rate, warmup_steps):
    """Multiply a rate by t/n in the first n = warmup_steps steps t = 1, 2, …"""
    gamma = of_count(learning_rate)
    return lambda count: gamma(count) * (min(1.0, (count + 1) / warmup_steps) if warmup_steps else 1.0)


def schedule_free_sgd(
    learning_rate=1.0, b1=0.9, weight_decay=0.0, warmup_steps=0, r=0.0, weight_lr_power=2.0, **others
):
    """`schedule_free` along the gradients, with a linear warmup."""

    def directions(gradients):
        return iter(gradients)

    rate = warmed_up(learning_rate, warmup_steps)
    return schedule_free(rate, directions, b1, weight_decay, r, weight_lr_power, **others)


def schedule_free_adamw(
    learning_rate=0.0025,
    b1=0.9,
    b2=0.999,
    eps=1e-8,
    weight_decay=0.0,
    warmup_steps=0,
    r=0.0,
    weight_lr_power=2.0,
    *,
    inner_momentum=0.0,
    correction="denominator",
    **others,
):
    """`schedule_free` along Adam's directions, with a linear warmup.

        m ← μ·m + (1 − μ)·g             m_0 = 0
        v ← β2·v + (1 − β2)·g²          v_0 = 0
        u = m/(1 − μ^t)/(√(v/(1 − β2^t)) + ε)

    with μ = inner_momentum, 0 in the paper and usually. With correction="rate", which is how the paper's experiments
    were made, u = m/(1 − μ^t)/(√v + ε) and γ is multiplied by √(1 − β2^t) instead, in the weights too. Source: Defazio
    et al. 2024, arXiv 2405.15682, and its published code; μ is in that of 2026.
    """
    gamma = warmed_up(learning_rate, warmup_steps)
    mu, b2, eps = f32(inner_momentum), f32(b2), f32(eps)
    in_rate = {"denominator": False, "rate": True}[correction]

    def rate(count):
        return gamma(count) * (np.sqrt(1 - b2 ** (count + 1)) if in_rate else 1.0)

    def directions(gradients):
        m, v = np.zeros_like(gradients[0]), np.zeros_like(gradients[0])
        for t, g in enumerate(gradients, start=1):
            m = mu * m + (1 - mu) * g
            v = b2 * v + (1 - b2) * g**2
            yield m / (1 - mu**t) / (np.sqrt(v if in_rate else v / (1 - b2**t)) + eps)

    return schedule_free(rate, directions, b1, weight_decay, r, weight_lr_power, **others)


def schedule_free_radam(
    learning_rate=0.0025,
    b1=0.9,
    b2=0.999,
    eps=1e-8,
    weight_decay=0.0,
    r=0.0,
    weight_lr_power=2.0,
    *,
    silent_sgd_phase=True,
    **others,
):
    """`schedule_free` along RAdam's directions without momentum, with RAdam's factor in place of a warmup.

        ρ_∞ = 2/(1 − β2) − 1
        ρ = ρ_∞ − 2·t·β2^t/(1 − β2^t)
        v ← β2·v + (1 − β2)·g²          v_0 = 0

        ρ > 4:     u = g/(√(v/(1 − β2^t)) + ε),  and γ_t is multiplied by
                   √((ρ − 4)·(ρ − 2)·ρ_∞/((ρ_∞ − 4)·(ρ_∞ − 2)·ρ)),  in the weights too
        else:      u = g,  and γ_t = 0 in a silent phase

    Source: Liu et al. 2019, arXiv 1908.03265, for the factor, and the published code of Defazio et al. 2024, arXiv
    2405.15682.
    """
    gamma, b2, eps = of_count(learning_rate), f32(b2), f32(eps)
    limit = 2 / (1 - b2) - 1

    def length(t):
        return limit - 2 * t * b2**t / (1 - b2**t)

    def rate(count):
        rho = length(count + 1)
        if rho <= 4:
            return 0.0 if silent_sgd_phase else gamma(count)
        return gamma(count) * np.sqrt((rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho))

    def directions(gradients):
        v = np.zeros_like(gradients[0])
        for t, g in enumerate(gradients, start=1):
            v = b2 * v + (1 - b2) * g**2
            yield g / (np.sqrt(v / (1 - b2**t)) + eps) if length(t) > 4 else g

    return schedule_free(rate, directions, b1, weight_decay, r, weight_lr_power, **others)


def schedule_free_plus(
    values,
    learning_rate=1.0,
    b1=0.9,
    b2=0.95,
    sf_beta=0.9,
    eps=1e-8,
    weight_decay=0.0,
    r=0.0,
    weight_lr_power=2.0,
    *,
    polyak_beta=0.0,
    c_warmup=0,
    sf_beta_anneal_steps=0,
    sf_beta_max=0.965,
    averages=False,
    convention="code",
):
    """Adam with momentum, made schedule-free, along steps in the manner of Polyak.

        1 − β = (1 − β_0)^(1 − a)·(1 − β_max)^a    a = min(1, (t − 1)/n), and 0 without annealing
        E ← β_p·E + (1 − β_p)·‖g‖₁·√(π/2)          E_0 = 0
        γ = max(η, ε)·max(0, f + β·⟨g, z − x⟩)/(E/(1 − β_p^t))
        γ_max ← max(γ_max, γ)                      ε at first
        c = w/W as in `schedule_free`, from step c_warmup + 1 on;  before it c = 1, and W stays 0
        m ← β1·m + (1 − β1)·g                      m_0 = 0
        v ← β2·v + (1 − β2)·g²                     v_0 = 0
        z ← z − γ²·λ·y − γ·m/(1 − β1^t)/(√(v/(1 − β2^t)) + ε)
        x ← (1 − c)·x + c·z
        y ← (1 − β)·z + β·x

    where f = values[t − 1] is the loss at y, n = sf_beta_anneal_steps, β_0 = sf_beta, β_max = sf_beta_max, β_p =
    polyak_beta, λ = weight_decay, and the sums are over all coordinates. Without values (None) γ = max(η, ε). In the
    published code E is E/(1 − β_p^t) of the last step when the next one averages. Those who compared it with the paper
    report the plain average, and a = min(1, t/n), for the latter (convention="paper"). Source: Defazio 2026, arXiv
    2605.19095, algorithm 1, and its published code.
    """
    eta, b1, b2, eps = of_count(learning_rate), f32(b1), f32(b2), f32(eps)
    first, last, decay = f32(sf_beta), f32(sf_beta_max), f32(weight_decay)
    r, power, memory = f32(r), f32(weight_lr_power), f32(polyak_beta)
    from_code = {"code": True, "paper": False}[convention]

    def interpolation(t):
        if not sf_beta_anneal_steps:
            return first
        a = min(1.0, (t - 1 if from_code else t) / sf_beta_anneal_steps)
        return 1 - (1 - first) ** (1 - a) * (1 - last) ** a

    def iterates(y, gradients):
        z, x = y, y
        m, v = np.zeros_like(y), np.zeros_like(y)
        norm, largest, total = 0.0, eps, 0.0
        for t, g in enumerate(gradients, start=1):
            beta, gamma = interpolation(t), max(eta(t - 1), eps)
            if values is not None:
                norm = memory * norm + (1 - memory) * np.sum(np.abs(g)) * np.sqrt(np.pi / 2)
                corrected = norm / (1 - memory**t)
                gamma = gamma * max(0.0, values[t - 1] + beta * np.sum(g * (z - x))) / corrected
                if from_code:
                    norm = corrected
            largest = max(largest, gamma)
            c = 1.0
            if t > c_warmup:
                weight = t**r * largest**power
                total = total + weight
                c = weight / total
            m = b1 * m + (1 - b1) * g
            v = b2 * v + (1 - b2) * g**2
            u = m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps)
            z = z - gamma**2 * decay * y - gamma * u
            x = (1 - c) * x + c * z
            y = (1 - beta) * z + beta * x
            yield x if averages else y

    return iterates
