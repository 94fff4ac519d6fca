"""Learning rates that adapt to training: plateaus, Polyak's rule and its relatives, line search, hypergradients.

A problem is a function `problem(t, x) -> (value, gradient)`, where t = 0, 1, … counts the updates completed. The
parameters are one float64 array, or a list of arrays; an inner product is over all of them unless a rule is `per_leaf`.
A reference returns

    path     x_0, x_1, …, x_T in one array, or a list of such arrays
    rates    η_0, …, η_(T−1), the rates applied

With `momentum` μ the direction is d ← g + μ·d instead of d = g. Rates and caps may be functions of the count. Numbers
are rounded to float32, the precision in which a controller stores them, and all arithmetic after that is float64.
"""

import math

import numpy as np

from tests.reference.loop import of_count
from tests.reference.schedules import f32


def dot(a, b):
    """The inner product of two lists of arrays."""
    return float(sum(np.sum(x * y) for x, y in zip(a, b, strict=True)))


def follow(problem, x0, steps, rate, momentum=0.0):
    """Return the path x ← x − η·d and its rates; `rate(t, x, f, g, d)` sees lists, and returns η or one a leaf."""
    many, mu = isinstance(x0, list), f32(momentum)

    def listed(leaves):
        return [np.asarray(leaf, np.float64) for leaf in (leaves if many else [leaves])]

    x = listed(x0)
    d = [np.zeros_like(leaf) for leaf in x]
    path, rates = [x], []
    for t in range(steps):
        f, g = problem(t, x if many else x[0])
        g = listed(g)
        d = [g_i + mu * d_i for g_i, d_i in zip(g, d, strict=True)]
        eta = rate(t, x, float(f), g, d)
        x = [x_i - eta_i * d_i for x_i, eta_i, d_i in zip(x, np.broadcast_to(eta, len(x)), d, strict=True)]
        path.append(x)
        rates.append(eta)
    leaves = [np.stack(leaf) for leaf in zip(*path, strict=True)]
    return leaves if many else leaves[0], np.array(rates)


def plateau(
    values,
    *,
    learning_rate,
    factor=0.1,
    patience=10,
    mode="min",
    rtol=1e-4,
    atol=0.0,
    cooldown=0,
    min_value=0.0,
    window=1,
    counting="optax",
    nan="bad",
):
    """Return the rate after each of the values: cut where they have stopped improving.

        η = max(factor^k·η(count), min_value)    k cuts so far
        value < best − (rtol·|best| + atol)      is an improvement: best ← value, and no value is bad any more
        value > best + (rtol·|best| + atol)      instead where mode is max

    and any other value is bad, NaN too; with nan="skip" it is as if there had been no NaN. A value is the mean of
    `window` of them. A cut forgets the bad values, and so does each of the next `cooldown` values. By the counting, the
    rate is cut at a value with which there are

        optax    exactly `patience` bad ones (where patience is 0, optax cuts at improvements: not here)
        torch    more than `patience`
        keras    at least `patience`, and the last value of a cooldown is already counted

    Sources: optax 0.2.8; torch's `ReduceLROnPlateau.step`, without its `eps`; the callback of Keras 3. The relative
    margins of optax and torch are of the signed best value, which is the same for values above zero.
    """
    if counting == "optax" and patience < 1:
        raise ValueError(f"counting as optax does takes a patience of at least 1, got {patience}")
    eta, factor, rtol, atol, min_value = of_count(learning_rate), f32(factor), f32(rtol), f32(atol), f32(min_value)
    sign = {"min": 1.0, "max": -1.0}[mode]
    best, bad, resting, cuts, seen, rates = math.inf, 0, 0, 0, [], []
    for count, value in enumerate(values):
        if not (nan == "skip" and math.isnan(value)):
            seen.append(sign * float(value))
        if len(seen) == window:
            mean, seen = math.fsum(seen) / window, []
            margin = rtol * abs(best) + atol if math.isfinite(best) else 0.0
            better, cut = mean < best - margin, False
            if counting == "keras" and resting > 0:
                resting, bad = resting - 1, 0
            if better:
                best, bad = mean, 0
            elif counting != "keras" or resting == 0:
                bad += 1
            if counting == "keras":
                cut = not better and resting == 0 and bad >= patience
            elif resting > 0:
                resting, bad = resting - 1, 0
            else:
                cut = bad == patience if counting == "optax" else bad > patience
            if cut:
                cuts, resting, bad = cuts + 1, cooldown, 0
        rates.append(max(factor**cuts * eta(count), min_value))
    return np.array(rates)


def polyak_sgd(
    problem, x0, steps, *, max_learning_rate=1.0, f_min=0.0, c=1.0, growth=None, variant="sps", momentum=0.0
):
    """The rate at which the linearized value would be f_min, where c is 1.

        p = (f − f_min)/(c·⟨g, d⟩)        sps
        p = (f − f_min)₊/(c·⟨g, d⟩)       sps+
        η = min(p, η_max, growth·η⁻)      η⁻ the last positive rate; without growth, and before there is one: no bound
        η = 0                             where ⟨g, d⟩ ≤ 0

    Source: Loizou et al. 2020, arXiv 2002.10542, for d = g; growth is its γ^(b/n), with which the published code caps
    the first rate too, by γ^(b/n)·1, and stays at 0 once a rate was 0. sps+: Garrigos et al. 2023, arXiv 2307.14528.
    """
    eta_max, f_min, c = of_count(max_learning_rate), f32(f_min), f32(c)
    last = math.inf

    def rate(t, x, f, g, d):
        nonlocal last
        gap = {"sps": f - f_min, "sps+": max(f - f_min, 0.0)}[variant]
        slope = dot(g, d)
        if slope <= 0:
            return 0.0
        bounds = [eta_max(t)] if growth is None else [eta_max(t), f32(growth) * last]
        eta = min(gap / (c * slope), *bounds)
        last = eta if eta > 0 else last
        return eta

    return follow(problem, x0, steps, rate, momentum)


def alig(problem, x0, steps, *, max_learning_rate=math.inf, delta=1e-5, momentum=0.0):
    """Polyak's rate for values whose infimum is 0: η = min(f/(⟨g, d⟩ + δ), η_max), and 0 where ⟨g, d⟩ + δ ≤ 0.

    Source: Berrada, Zisserman & Kumar 2019, arXiv 1906.05661, algorithm 1, for d = g and without a projection; δ is
    that of the published code, whose momentum is Nesterov's.
    """
    eta_max, delta = of_count(max_learning_rate), f32(delta)

    def rate(t, x, f, g, d):
        slope = dot(g, d) + delta
        return min(f / slope, eta_max(t)) if slope > 0 else 0.0

    return follow(problem, x0, steps, rate, momentum)


def armijo(
    problem,
    value_at,
    x0,
    steps,
    *,
    max_learning_rate,
    c=0.1,
    decrease=0.9,
    increase=2 ** (1 / 500),
    max_steps=100,
    momentum=0.0,
):
    """Try rates, from large to small, until one gives a sufficient decrease of the same batch's value.

        η ← η_max                          at the first step
        η ← min(increase·η, η_max)         at every other
        η ← decrease·η                     until f(x − η·d) ≤ f(x) − c·η·⟨g, d⟩, at most max_steps times

    The rate is 0 if the last one tried fails too, and the next search begins from that one nevertheless. A NaN fails.
    `value_at(t, x)` is the value alone. Source: Vaswani et al. 2019, arXiv 1905.09997, with reset option 1, for d = g;
    increase is γ^(b/n). The published code multiplies its first rate by that too, has no η_max in this search, and
    where all fail takes 1e-6.
    """
    eta_max, c, decrease, increase = of_count(max_learning_rate), f32(c), f32(decrease), f32(increase)
    tried = math.inf

    def rate(t, x, f, g, d):
        nonlocal tried

        def fails(eta):
            y = [x_i - eta * d_i for x_i, d_i in zip(x, d, strict=True)]
            return not float(value_at(t, y if isinstance(x0, list) else y[0])) <= f - c * eta * dot(g, d)

        tried = min(increase * tried, eta_max(t))
        for _ in range(max_steps):
            if not fails(tried):
                return tried
            tried = decrease * tried
        return 0.0 if fails(tried) else tried

    return follow(problem, x0, steps, rate, momentum)


def hypergradient(
    problem, x0, steps, *, learning_rate, hyper_learning_rate, mode="additive", per_leaf=False, momentum=0.0
):
    """Descend in the rate too: the value falls with it by ⟨g, d⁻⟩, where d⁻ is the last step's direction.

        additive          A ← A + β·⟨g, d⁻⟩             η_t = base(t) + A        A_0 = 0
        multiplicative    M ← M·(1 + β·cos(g, d⁻))      η_t = base(t)·M          M_0 = 1

    with β = hyper_learning_rate; at the first step A and M stay, and a cosine with a zero vector is 0. With per_leaf
    each array has its own A or M. Source: Baydin et al. 2017, arXiv 1703.04782, for a constant base:
    SGD-HD, and its multiplicative rule.
    """
    base, beta = of_count(learning_rate), f32(hyper_learning_rate)
    memory = last = None

    def moved(memory, g, d):
        if mode == "additive":
            return memory + beta * dot(g, d)
        norms = math.sqrt(dot(g, g) * dot(d, d))
        return memory * (1 + beta * (dot(g, d) / norms if norms > 0 else 0.0))

    def rate(t, x, f, g, d):
        nonlocal memory, last
        if t == 0:
            memory = [{"additive": 0.0, "multiplicative": 1.0}[mode]] * (len(g) if per_leaf else 1)
        elif per_leaf:
            memory = [moved(m, [g_i], [d_i]) for m, g_i, d_i in zip(memory, g, last, strict=True)]
        else:
            memory = [moved(memory[0], g, last)]
        last = d
        etas = [base(t) + m if mode == "additive" else base(t) * m for m in memory]
        return etas if per_leaf else etas[0]

    return follow(problem, x0, steps, rate, momentum)


def l4(
    problem,
    x0,
    steps,
    *,
    fraction=0.15,
    minloss_factor=0.9,
    init_factor=0.75,
    forget_steps=1000.0,
    b1=0.9,
    b2=0.999,
    eps=1e-12,
    adam_eps=1e-4,
    direction="momentum",
    max_learning_rate=None,
):
    """Take a fraction of the rate at which the linearized value would reach a fraction of the smallest value seen.

        m ← β1·m + (1 − β1)·g, m̂ = m/(1 − β1^t)        m_0 = 0, t = 1, 2, …
        L ← γ0·f at the first step, L ← min(L, f) at every other
        η = α·(f − γ·L)/(⟨m̂, v⟩ + ε)
        x ← x − η·v
        L ← (1 + 1/τ)·L

    where v is m̂ (momentum: L4Mom), m̂/(√n̂ + adam_eps) with n̂ the corrected average of g² by β2 (adam: L4Adam), or g
    (gradient), and α = fraction, γ = minloss_factor, γ0 = init_factor, τ = forget_steps. max_learning_rate caps η: not
    in the source. Source: Rolinek & Martius 2018, arXiv 1802.05074, and the published code.
    """
    alpha, gamma, gamma_0, tau = f32(fraction), f32(minloss_factor), f32(init_factor), f32(forget_steps)
    b1, b2, eps, adam_eps = f32(b1), f32(b2), f32(eps), f32(adam_eps)
    eta_max = of_count(math.inf if max_learning_rate is None else max_learning_rate)
    x = np.asarray(x0, np.float64)
    m, n, low = np.zeros_like(x), np.zeros_like(x), None
    path, rates = [x], []
    for t in range(steps):
        f, g = problem(t, x)
        m, n = b1 * m + (1 - b1) * g, b2 * n + (1 - b2) * g**2
        m_hat, n_hat = m / (1 - b1 ** (t + 1)), n / (1 - b2 ** (t + 1))
        v = {"momentum": m_hat, "adam": m_hat / (np.sqrt(n_hat) + adam_eps), "gradient": g}[direction]
        low = gamma_0 * f if low is None else min(low, f)
        eta = min(alpha * (f - gamma * low) / (np.sum(m_hat * v) + eps), eta_max(t))
        x = x - eta * v
        low = (1 + 1 / tau) * low
        path.append(x)
        rates.append(eta)
    return np.stack(path), np.array(rates)
