"""Step sizes from distances and from bets, and optimizers that set their own: MoMo, HDM.

Conventions: see `tests.reference.controllers`.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from tests.reference.controllers import dot, follow
from tests.reference.loop import of_count
from tests.reference.schedules import f32


def distance_over_gradients(x0, init_distance, reps_rel, eps):
    """Return the function `rate(x, g)` of DoG, on lists of arrays."""
    x0 = [np.asarray(leaf, np.float64) for leaf in x0]
    r = f32(reps_rel) * (1 + math.sqrt(dot(x0, x0))) if init_distance is None else f32(init_distance)
    G = f32(eps)

    def rate(x, g):
        nonlocal r, G
        moved = [leaf - start for leaf, start in zip(x, x0, strict=True)]
        r, G = max(r, math.sqrt(dot(moved, moved))), G + dot(g, g)
        return r / math.sqrt(G) if G > 0 else 0.0

    return rate


def dog(
    problem,
    x0,
    steps,
    *,
    learning_rate=1.0,
    init_distance=None,
    reps_rel=1e-6,
    init_learning_rate=None,
    eps=1e-8,
    momentum=0.0,
):
    """The largest distance from the start so far, over the root of the sum of squared gradient norms.

        r ← max(r, ‖x − x_0‖)        r = init_distance, or reps_rel·(1 + ‖x_0‖), before the first step
        G ← G + ‖g‖²                 G = ε before the first step
        η = c·r/√G                   c = learning_rate

    With init_learning_rate, the first rate is c times that, and r begins at 0. Source: Ivgi, Hinder & Carmon 2023,
    arXiv 2302.12022, where G begins at 0; ε and the defaults are those of the published code, which leaves c out of
    the given first rate.
    """
    c, first = of_count(learning_rate), init_learning_rate
    start = x0 if isinstance(x0, list) else [x0]
    step = distance_over_gradients(start, init_distance if first is None else 0.0, reps_rel, eps)

    def rate(t, x, f, g, d):
        eta = step(x, g)
        return c(t) * (f32(first) if t == 0 and first is not None else eta)

    return follow(problem, x0, steps, rate, momentum)


def l_dog(problem, x0, steps, *, learning_rate=1.0, init_distance=None, reps_rel=1e-6, eps=1e-8, momentum=0.0):
    """DoG for each array of a list on its own. Source: Ivgi, Hinder & Carmon 2023, arXiv 2302.12022, L-DoG."""
    c = of_count(learning_rate)
    of_leaf = [distance_over_gradients([leaf], init_distance, reps_rel, eps) for leaf in x0]

    def rate(t, x, f, g, d):
        return [c(t) * of_leaf[i]([x[i]], [g[i]]) for i in range(len(x))]

    return follow(problem, x0, steps, rate, momentum)


def dowg(problem, x0, steps, *, learning_rate=1.0, init_estim_sq_dist=None, eps=1e-4, momentum=0.0):
    """DoG whose sum weighs each gradient by the distance at its time.

        r² ← max(r², ‖x − x_0‖²)     r² = init_estim_sq_dist, or ε, before the first step
        v ← v + r²·‖g‖²              v_0 = 0
        η = c·r²/(√v + ε)            c = learning_rate

    Source: Khaled, Mishchenko & Jin 2023, arXiv 2305.16284, algorithm 1, without ε and with r = r_ε at first; ε and the
    default are those of the published code.
    """
    c, eps = of_count(learning_rate), f32(eps)
    start = [np.asarray(leaf, np.float64) for leaf in (x0 if isinstance(x0, list) else [x0])]
    r2, v = eps if init_estim_sq_dist is None else f32(init_estim_sq_dist), 0.0

    def rate(t, x, f, g, d):
        nonlocal r2, v
        moved = [leaf - origin for leaf, origin in zip(x, start, strict=True)]
        r2 = max(r2, dot(moved, moved))
        v = v + r2 * dot(g, g)
        return c(t) * r2 / (math.sqrt(v) + eps) if v > 0 or eps > 0 else 0.0

    return follow(problem, x0, steps, rate, momentum)


def distance_cap(problem, x0, steps, *, learning_rate, max_distance, momentum=0.0):
    """No step longer than a distance: η = min(c, max_distance/‖d‖)."""
    c, most = of_count(learning_rate), f32(max_distance)
    return follow(problem, x0, steps, lambda t, x, f, g, d: min(c(t), most / math.sqrt(dot(d, d))), momentum)


def curvature_cap(problem, x0, steps, *, learning_rate, bound=2.0, decay=0.99, momentum=0.0, probe=0.01):
    """The rate at most bound/λ, with λ the curvature that the gradients on both sides of the last step show.

    κ = ⟨g_(t−1) − g_t, d_(t−1)⟩/(η_(t−1)·⟨g_(t−1), d_(t−1)⟩)      0 unless both are positive
    λ ← max(κ, decay·λ)                                            λ = 0 at first
    η = min(c, bound/λ)                                            probe·c at the first step
    """
    c, bound, decay = of_count(learning_rate), f32(bound), f32(decay)
    known = 0.0
    last: Any = None

    def rate(t, x, f, g, d):
        nonlocal known, last
        kappa = 0.0
        if last is not None:
            old_g, old_d, old_eta = last
            change = dot([a - b for a, b in zip(old_g, g, strict=True)], old_d)
            slope = dot(old_g, old_d)
            kappa = change / (old_eta * slope) if slope > 0 and change > 0 else 0.0
        known = max(kappa, decay * known)
        eta = probe * c(t) if last is None else min(c(t), bound / known) if known > 0 else c(t)
        last = g, d, eta
        return eta

    return follow(problem, x0, steps, rate, momentum)


def polynomial_average(path, gamma=8.0):
    """Return the average after each update, of a path x_0, x_1, …; the first of them is x_0.

        a_0 = x_0
        a_t = (1 − w)·a_(t−1) + w·x_t,    w = (1 + γ)/(t + γ)        t = 1, 2, …

    so that a_1 = x_1: x_0 has no weight from then on. Source: Shamir & Zhang 2013, arXiv 1212.1824, in the form that
    Ivgi, Hinder & Carmon 2023, arXiv 2302.12022, publish for torch, where the average follows each update.
    """
    gamma = f32(gamma)
    averages = [np.asarray(path[0], np.float64)]
    for t, x in enumerate(path[1:], start=1):
        w = (1 + gamma) / (t + gamma)
        averages.append((1 - w) * averages[-1] + w * np.asarray(x, np.float64))
    return np.stack(averages)


def cocob(problem, x0, steps, *, alpha=100.0, eps=1e-8, learning_rate=1.0):
    """Bet on the sign of each coordinate's next gradient a fraction of what earlier bets have won.

        L ← max(L, |g|)                        L_0 = ε
        G ← G + |g|                            G_0 = 0
        R ← max(R − g·(x − x_0), 0)            R_0 = 0
        C ← C − g                              C_0 = 0
        b = C/(L·max(G + L, α·L))              the fraction, returned for the rate
        x ← x_0 + b·(L + R)

    per coordinate. learning_rate multiplies the gradients, as in optax. Source: Orabona & Tommasi 2017, arXiv
    1705.07795, algorithm 2, where L_0 is 0.
    """
    alpha, eps, c = f32(alpha), f32(eps), of_count(learning_rate)
    x = start = np.asarray(x0, np.float64)
    L, G, R, C = np.full_like(x, eps), np.zeros_like(x), np.zeros_like(x), np.zeros_like(x)
    path, fractions = [x], []
    for t in range(steps):
        g = c(t) * problem(t, x)[1]
        L, G = np.maximum(L, np.abs(g)), G + np.abs(g)
        R, C = np.maximum(R - g * (x - start), 0.0), C - g
        b = C / (L * np.maximum(G + L, alpha * L))
        x = start + b * (L + R)
        path.append(x)
        fractions.append(b)
    return np.stack(path), np.stack(fractions)


def momo(problem, x0, steps, *, learning_rate=1.0, beta=0.9, bias_correction=False, **rest):
    """Momentum with the rate at which a model of the value, averaged as the gradients are, would reach a lower bound.

        d ← β·d + (1 − β)·g             d = g, f̄ = f, γ = ⟨g, x⟩ at the first step
        f̄ ← β·f̄ + (1 − β)·f
        γ ← β·γ + (1 − β)·⟨g, x⟩
        s = 1 + η·λ
        h = [s·(f̄ − ρ·f_min − γ) + ⟨d, x⟩]₊/‖d‖²       0 where ‖d‖ is
        τ = min(η/ρ, h)                                the rate
        x ← (x − τ·d)/s

    with ρ = 1, λ = weight_decay, f_min = lower_bound. With bias_correction the averages begin at 0, and ρ = 1 − β^t.
    With adapt_lower_bound

        f_min ← max(q/(2·s·ρ), lower_bound)  if q = s·(f̄ − γ) + ⟨d, x⟩ < s·ρ·f_min     before τ
        f_min ← max((f̄ + ⟨d, x⟩ − γ − ½·τ·‖d‖²)/ρ, lower_bound)                       after τ

    optax 0.2.8 doesn't divide the step: x ← x/s − τ·d (convention="optax"). Source: Schaipp et al. 2023, arXiv
    2305.07583, and the published code.
    """
    beta = f32(beta)

    def average(t, g):
        old = 0.0 if t == 0 and not bias_correction else beta
        return old, 1 - beta ** (t + 1) if bias_correction else 1.0, np.ones_like(g)

    return model_based(problem, x0, steps, average, learning_rate, **rest)


def momo_adam(problem, x0, steps, *, learning_rate=1e-2, b1=0.9, b2=0.999, eps=1e-8, **rest):
    """MoMo in Adam's norm: `momo` with bias_correction and β = β1, and

        v ← β2·v + (1 − β2)·g²          v_0 = 0
        D = √(v/(1 − β2^t)) + ε
        ‖d‖² = Σ d²/D, and d/D in place of d in x's step

    Source: Schaipp et al. 2023, arXiv 2305.07583, and the published code.
    """
    b1, b2, eps = f32(b1), f32(b2), f32(eps)
    v = 0.0

    def average(t, g):
        nonlocal v
        v = b2 * v + (1 - b2) * g**2
        return b1, 1 - b1 ** (t + 1), np.sqrt(v / (1 - b2 ** (t + 1))) + eps

    return model_based(problem, x0, steps, average, learning_rate, **rest)


def model_based(
    problem,
    x0,
    steps,
    average,
    learning_rate,
    *,
    lower_bound=0.0,
    weight_decay=0.0,
    adapt_lower_bound=False,
    convention="paper",
):
    """Follow the rule of `momo`, where `average(t, g)` returns β, ρ and the diagonal D."""
    eta, floor, decay = of_count(learning_rate), f32(lower_bound), f32(weight_decay)
    f_min = floor
    x = np.asarray(x0, np.float64)
    d, f_bar, gamma = np.zeros_like(x), 0.0, 0.0
    path, rates = [x], []
    for t in range(steps):
        f, g = problem(t, x)
        beta, rho, D = average(t, g)
        d, f_bar = beta * d + (1 - beta) * g, beta * f_bar + (1 - beta) * f
        gamma = beta * gamma + (1 - beta) * np.sum(g * x)
        s, along, square = 1 + eta(t) * decay, np.sum(d * x), np.sum(d**2 / D)
        q = s * (f_bar - gamma) + along
        if adapt_lower_bound and q < s * rho * f_min:
            f_min = max(q / (2 * s * rho), floor)
        tau = min(eta(t) / rho, max(q - s * rho * f_min, 0.0) / square) if square > 0 else 0.0
        if adapt_lower_bound:
            f_min = max((f_bar + along - gamma - tau * square / 2) / rho, floor)
        x = {"paper": (x - tau * d / D) / s, "optax": x / s - tau * d / D}[convention]
        path.append(x)
        rates.append(tau)
    return np.stack(path), np.array(rates)


class Hdm(NamedTuple):
    """What `hdm` returns."""

    path: np.ndarray  # y_0, …, y_T, the points at which the problem is evaluated
    rates: np.ndarray  # P_1, …, P_T, with which y_1, …, y_T were proposed
    momenta: np.ndarray  # β_1, …, β_T
    kept: np.ndarray  # x_0, …, x_(T−1), the best point when y_t has been evaluated


def hdm(
    problem,
    x0,
    steps,
    *,
    learning_rate,
    momentum_learning_rate=1.0,
    momentum=0.95,
    max_momentum=0.9995,
    min_rate=0.0,
    eps=1e-12,
    scalar=False,
):
    """Learn a rate for each coordinate and a momentum by AdaGrad, from the gradient at the point that they led to.

        y_0 = x_0 = x⁻, f_0, g_0 = f(x_0), ∇f(x_0), P = 0, β = momentum, G = 0, H = 0

    and with the value f(y) and gradient ∇f(y) at each proposal y, y_0 included:

        n = ‖g‖² + 1e-12                               g at the kept point x, from which y was proposed
        p = −∇f(y)∘g/n,         G ← G + p²,  P ← max(P − a·p/(√G + ε), min_rate)
        b = ⟨∇f(y), x − x⁻⟩/n,  H ← H + b²,  β ← β − a_β·b/(√H + ε), clipped to [0, max_momentum]
        x⁻ ← x
        x, f, g ← y, f(y), ∇f(y)  if f(y) < f          otherwise all three stay: a null step
        y ← x − P∘g + β·(x − x⁻)                       the next proposal

    with a = learning_rate, a_β = momentum_learning_rate. p and b are the derivatives by P and β of (f(y) − f(x))/‖g‖².
    y_0 is a null step that only makes P = a where g isn't 0, and after any null step x − x⁻ is 0. scalar: P and G are
    numbers, and p = −⟨∇f(y), g⟩/n. min_rate = −∞ is the published code's nonconvex setting. Source: that code, for Chu,
    Gao, Ye & Udell 2025, arXiv 2502.11229 (HDM-HB), without its decay of a and its estimate of the curvature; a is
    there 10/L by default, for a smoothness L.
    """
    a, a_beta, eps, min_rate = of_count(learning_rate), of_count(momentum_learning_rate), f32(eps), f32(min_rate)
    beta, top = f32(momentum), f32(max_momentum)
    y = x = before = np.asarray(x0, np.float64)
    P, G, H = np.zeros_like(x), np.zeros_like(x), 0.0
    f, g = problem(0, y)
    path, rates, momenta, kept = [y], [], [], []
    for t in range(steps):
        f_y, g_y = problem(t, y)
        n = np.sum(g**2) + 1e-12
        p = np.full_like(P, -np.sum(g_y * g) / n) if scalar else -g_y * g / n
        b = np.sum(g_y * (x - before)) / n
        G, H = G + p**2, H + b**2
        P = np.maximum(P - a(t) * p / (np.sqrt(G) + eps), min_rate)
        beta = min(max(beta - a_beta(t) * b / (math.sqrt(H) + eps), 0.0), top)
        before = x
        if f_y < f:
            x, f, g = y, f_y, g_y
        y = x - P * g + beta * (x - before)
        path.append(y)
        rates.append(P)
        momenta.append(beta)
        kept.append(x)
    return Hdm(np.stack(path), np.stack(rates), np.array(momenta), np.stack(kept))
