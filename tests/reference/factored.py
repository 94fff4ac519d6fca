"""Second moments that are shared within a leaf. Conventions: see `tests.reference.optimizers`."""

import numpy as np

from tests.reference.loop import descend, of_count
from tests.reference.schedules import f32


def rms(x):
    """Return the root mean square of all entries."""
    return np.sqrt(np.mean(x**2))


def factored_axes(shape, min_dim_size_to_factor):
    """Return the axes of the second largest and the largest size, or None where the former is too small to factor."""
    if len(shape) < 2:
        return None
    second, largest = sorted(range(len(shape)), key=lambda axis: shape[axis])[-2:]
    return (second, largest) if shape[second] >= min_dim_size_to_factor else None


def adafactor(
    learning_rate=None,
    min_dim_size_to_factor=128,
    decay_rate=0.8,
    decay_offset=0,
    multiply_by_parameter_scale=True,
    clipping_threshold=1.0,
    momentum=None,
    weight_decay_rate=None,
    eps=1e-30,
    factored=True,
):
    """Divide by the root of a second moment of which only the means of rows and columns are kept.

        β = 1 − (t − t_0)^(−c)
        R ← β·R + (1 − β)·mean of (g² + ε) over the largest axis             R_0 = 0
        C ← β·C + (1 − β)·mean of (g² + ε) over the second largest axis      C_0 = 0
        V = R·C/mean(R),    or, not factored,    V ← β·V + (1 − β)·(g² + ε)
        u = g/√V
        u ← u/max(1, RMS(u)/d)
        u ← η·max(RMS(x), 10⁻³)·u
        m ← μ·m + (1 − μ)·u             m_0 = 0
        x ← x − (m + λ·x)

    with t_0 = decay_offset, c = decay_rate, d = clipping_threshold, μ = momentum, λ = weight_decay_rate; what is None,
    or multiply_by_parameter_scale where it is False, is left out. λ is not multiplied by η. Source: Shazeer & Stern
    2018, arXiv 1804.04235, algorithms 4 and 5; variants as in optax.
    """
    eta = of_count(1.0 if learning_rate is None else learning_rate)
    decay = of_count(0.0 if weight_decay_rate is None else weight_decay_rate)
    c, eps, mu = f32(decay_rate), f32(eps), 0.0 if momentum is None else f32(momentum)

    def iterates(x, gradients):
        axes = factored_axes(x.shape, min_dim_size_to_factor) if factored else None
        R, C, V, m = 0.0, 0.0, 0.0, np.zeros_like(x)
        for t, g in enumerate(gradients, start=1):
            beta = 1 - (t - decay_offset) ** -c
            square = g**2 + eps
            if axes is None:
                V = beta * V + (1 - beta) * square
            else:
                second, largest = axes
                R = beta * R + (1 - beta) * np.mean(square, axis=largest, keepdims=True)
                C = beta * C + (1 - beta) * np.mean(square, axis=second, keepdims=True)
                V = R * C / np.mean(R, axis=second, keepdims=True)
            u = g / np.sqrt(V)
            if clipping_threshold is not None:
                u = u / max(1.0, rms(u) / f32(clipping_threshold))
            u = eta(t - 1) * u
            if multiply_by_parameter_scale:
                u = max(rms(x), 1e-3) * u
            m = mu * m + (1 - mu) * u
            x = x - (m + decay(t - 1) * x)
            yield x

    return iterates


def sm3(learning_rate, momentum=0.9):
    """Adagrad with one accumulator per slice along each axis, of which the smallest that cover an entry bounds its sum.

        ν = min over the axes i of μ_i, + g²     μ_i = 0 at first
        u = g/√(ν + 10⁻⁸),    and 0 where ν = 0
        m ← β·m + (1 − β)·u                      m_0 = 0
        μ_i ← max of ν over all axes but i
        x ← x − η·m

    with β = momentum. Source: Anil et al. 2019, arXiv 1901.11150, algorithm SM3-II; the momentum is an average and ε
    is there as in optax.
    """
    beta = f32(momentum)

    def directions(gradients):
        axes = range(gradients[0].ndim)
        mu, m = [np.zeros_like(gradients[0]) for _ in axes], np.zeros_like(gradients[0])
        for g in gradients:
            nu = np.min(np.broadcast_arrays(*mu), axis=0) + g**2
            u = np.where(nu > 0, g / np.sqrt(nu + 1e-8), 0.0)
            m = beta * m + (1 - beta) * u
            mu = [np.max(nu, axis=tuple(j for j in axes if j != i), keepdims=True) for i in axes]
            yield m

    return descend(learning_rate, directions)


def adam_mini(learning_rate, b1=0.9, b2=0.999, eps=1e-8, *, weight_decay=0.0):
    """Adam with one second moment per block: per column of a matrix (last axis kept), or for a whole vector.

        m ← β1·m + (1 − β1)·g                    m_0 = 0
        v ← β2·v + (1 − β2)·mean of g² over the block        v_0 = 0
        u = m/(1 − β1^t)/(√(v/(1 − β2^t)) + ε)

    Source: Zhang et al. 2024, arXiv 2406.16793. A column of (in, out) is an output neuron.
    """
    b1, b2, eps = f32(b1), f32(b2), f32(eps)

    def directions(gradients):
        ndim = gradients[0].ndim
        block = tuple(range(ndim - 1)) if ndim >= 2 else None
        m, v = np.zeros_like(gradients[0]), 0.0
        for t, g in enumerate(gradients, start=1):
            m = b1 * m + (1 - b1) * g
            v = b2 * v + (1 - b2) * np.mean(g**2, axis=block, keepdims=True)
            yield m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps)

    return descend(learning_rate, directions, weight_decay)
