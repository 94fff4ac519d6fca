"""What is put around an optimizer. Conventions: see `tests.reference.optimizers`."""

import itertools

import numpy as np
from ml_dtypes import bfloat16

from tests.reference.loop import of_count
from tests.reference.schedules import f32

# ---------------------------------------------------------------- around directions


def cautious(directions):
    """Leave out the coordinates in which the direction disagrees with the gradient, and lengthen the rest.

        φ = 1 where u·g > 0, 0 elsewhere
        u ← u·φ/max(mean(φ), 10⁻³)               the mean over the leaf

    Source: Liang et al. 2024, arXiv 2411.16085, algorithm 1; the mean and its bound as in the published code.
    """

    def masked(gradients):
        for g, u in zip(gradients, directions(gradients), strict=True):
            phi = np.where(u * g > 0, 1.0, 0.0)
            yield u * phi / max(np.mean(phi), 1e-3)

    return masked


def lookahead(learning_rate, directions, sync_period, slow_step_size, reset_state=False):
    """Every k steps go back to a fraction α of the way since the last k.

        x ← x − η·u                    and then, after steps k, 2k, …,
        y ← y + α·(x − y), x ← y       y_0 = x_0

    with k = sync_period, α = slow_step_size. Yields x, the fast parameters; y is what x was after the last multiple
    of k. With reset_state the directions begin anew each time, and the rate's count goes on (optax begins that anew
    too). Source: Zhang et al. 2019, arXiv 1907.08610,
    algorithm 1.
    """
    eta, alpha = of_count(learning_rate), f32(slow_step_size)

    def steps(gradients):
        if not reset_state:
            return directions(gradients)
        periods = (gradients[i : i + sync_period] for i in range(0, len(gradients), sync_period))
        return itertools.chain.from_iterable(directions(period) for period in periods)

    def iterates(x, gradients):
        y = x
        for t, u in enumerate(steps(gradients), start=1):
            x = x - eta(t - 1) * u
            if t % sync_period == 0:
                y = y + alpha * (x - y)
                x = y
            yield x

    return iterates


# ---------------------------------------------------------------- around gradients


def accumulate(make, every):
    """Take a step of `make` on the mean of each k = `every` gradients.

    x stays for k − 1 gradients, then takes the step that `make` takes on (g_1 + … + g_k)/k.
    """

    def iterates(x, gradients):
        complete = len(gradients) // every * every
        means = np.mean(gradients[:complete].reshape(-1, every, *x.shape), axis=1)
        for new in make(x, means):
            yield from [x] * (every - 1)
            x = new
            yield x
        yield from [x] * (len(gradients) - complete)

    return iterates


def clipped(learning_rate, clip):
    """Descend along clipped gradients, where `clip` is what `clip_by_block_rms(...)` and the others return.

    x ← x − η·clip(g, x)
    """
    eta = of_count(learning_rate)

    def iterates(x, gradients):
        for t, g in enumerate(gradients, start=1):
            x = x - eta(t - 1) * clip(g, x)
            yield x

    return iterates


def clip(max_delta):
    """Return (g, x) → g with every entry in [−max_delta, max_delta]."""
    return lambda g, x: np.clip(g, -f32(max_delta), f32(max_delta))


def clip_by_block_rms(threshold):
    """Return (g, x) → g/max(1, RMS(g)/threshold). Source: Shazeer & Stern 2018, arXiv 1804.04235, algorithm 4."""
    return lambda g, x: g / max(1.0, np.sqrt(np.mean(g**2)) / f32(threshold))


def adaptive_grad_clip(clipping, eps=1e-3):
    """Return (g, x) → g in which no unit is longer than λ times the unit of x.

        g_i ← g_i·λ·max(‖x_i‖, ε)/‖g_i‖    where ‖g_i‖ is more than λ·max(‖x_i‖, ε)

    with λ = clipping. A unit is a column of a matrix, a whole vector, and an output channel, which is the last axis,
    of a kernel of 4 or 5 axes; of 3 axes the first is summed over, as in optax. Source: Brock et al. 2021, arXiv
    2102.06171, equation 3.
    """

    def norms(x):
        within = {2: 0, 3: 0, 4: (0, 1, 2), 5: (0, 1, 2, 3)}.get(x.ndim) if np.squeeze(x).ndim > 1 else None
        return np.sqrt(np.sum(x**2, axis=within, keepdims=True))

    def clip(g, x):
        most, length = f32(clipping) * np.maximum(norms(x), f32(eps)), norms(g)
        return g * np.where(length > most, most / np.where(length > most, length, 1.0), 1.0)

    return clip


def skip_spikes(losses, norms, window, sigmas, min_samples, max_consecutive):
    """Yield for each update whether it is taken, by the losses and the norms of the gradients.

    Of the sizes x_1 … x_n of the last n ≤ `window` updates that were taken, x is a spike if

        x > m + k·max(s, 10⁻⁶·|m|)      m = Σx_i/n,  s² = Σ(x_i − m)²/(n − 1),  n ≥ min_samples

    with k = sigmas, or if it is not finite. A finite spike after `max_consecutive` in a row is taken all the same, and
    n begins at 0 again. Source: the rule of OLMo-core's SkipStepOptimizer, where every x enters.
    """
    past, in_a_row = [[], []], 0
    for sizes in zip(losses, norms, strict=True):
        finite = bool(np.all(np.isfinite(sizes)))
        spike = not finite
        for x, xs in zip(sizes, past, strict=True):
            last = np.array(xs[-window:], np.float64)
            if finite and last.size >= min_samples:
                m, s = np.mean(last), np.std(last, ddof=1)
                spike |= bool(x > m + f32(sigmas) * max(s, 1e-6 * abs(m)))
        in_a_row = in_a_row + 1 if spike else 0
        if spike and finite and in_a_row > max_consecutive:
            past, in_a_row, spike = [[], []], 0, False
        if not spike:
            past = [[*xs, x] for x, xs in zip(sizes, past, strict=True)]
        yield not spike


# ---------------------------------------------------------------- around the parameters


def ema_of_parameters(path, decay, debias):
    """Return a path's running average, at every step.

        e ← ρ·e + (1 − ρ)·x_t           for t = 1, 2, …, from e_0 = x_0, or
        e ← e_t/(1 − ρ^t)               with debias, from e_0 = 0: then x_0 has no weight

    A function as decay is ρ_t = decay(t − 1), rounded to float32, and ρ^t is ∏ρ_i. Where there is no step yet the
    average is x_0. Source: Polyak & Juditsky 1992 for averaging; the correction is that of Adam's moments.
    """
    rho, averages, rest = of_count(decay), [path[0]], 1.0
    e = np.zeros_like(path[0]) if debias else path[0]
    for t, x in enumerate(path[1:], start=1):
        r = f32(rho(t - 1))
        e = r * e + (1 - r) * x
        rest *= r
        averages.append(e / (1 - rest) if debias else e)
    return np.stack(averages)


def kahan_sum(x0, updates, dtype):
    """Add updates to a parameter of few digits, and keep what its rounding lost in a second number of as few.

        y = u − c
        s = fl(x + y)
        c ← fl((s − x) − y)             c_0 = 0
        x ← s

    where fl rounds to `dtype`; the rest is float64. Returns x_0, x_1, … in `dtype`. Source: Kahan 1965, "Further
    remarks on reducing truncation errors".
    """
    fl = lambda x: np.asarray(x).astype(dtype).astype(np.float64)  # noqa: E731
    x = fl(x0)
    c, path = np.zeros_like(x), [x]
    for u in np.asarray(updates, np.float64):
        y = u - c
        s = fl(x + y)
        c = fl((s - x) - y)
        x = s
        path.append(x)
    return np.stack(path).astype(dtype)


def master_weights(learning_rate, directions, dtype, rounding="nearest"):
    """Train parameters of few bits by weights of many: yields the parameters, in `dtype`.

        m ← m − η·u            in float32
        x ← fl(m)              nearest: m is kept
        m ← x + fl'(m − x)     kahan: of m only the rest is kept, in bfloat16

    where fl rounds to `dtype` and fl' to bfloat16. Source: Micikevicius et al. 2018, arXiv 1710.03740, section 3.1;
    Zamirai et al. 2020, arXiv 2010.06192.
    """
    eta = of_count(learning_rate)

    def iterates(x, gradients):
        m = np.asarray(x).astype(dtype).astype(np.float32)
        for t, u in enumerate(directions(gradients), start=1):
            m = np.float32(m - eta(t - 1) * u)
            x = m.astype(dtype)
            if rounding == "kahan":
                few = x.astype(np.float32)
                m = np.float32(few + (m - few).astype(bfloat16).astype(np.float32))
            yield x.astype(np.float64)

    return iterates
