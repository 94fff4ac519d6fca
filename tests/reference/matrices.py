"""Optimizers that look at a matrix as a whole. Conventions: see `tests.reference.optimizers`."""

import numpy as np

from tests.reference.loop import descend
from tests.reference.schedules import f32

JORDAN = (3.4445, -4.7750, 2.0315)
DION = (
    (4.0848, -6.8946, 2.9270),
    (3.9505, -6.3029, 2.6377),
    (3.7418, -5.5913, 2.3037),
    (2.8769, -3.1427, 1.2046),
    (2.8366, -3.0525, 1.2012),
)


def newton_schulz(g, coefficients, eps, first="frobenius"):
    """The iteration of Jordan et al. 2024, on the singular values that an SVD gives.

        X = G/(‖G‖_F + ε)
        X ← a·X + (b·(X·Xᵀ) + c·(X·Xᵀ)²)·X       for each (a, b, c)

    which maps G = U·S·Vᵀ to U·φ(…φ(S/‖S‖))·Vᵀ, with φ(s) = a·s + b·s³ + c·s⁵ on each singular value. Before the first
    step "spectral" divides by max S, "schatten" by √‖X·Xᵀ‖_F, and "aol" (where singular vectors change, so that the
    products are formed) each row i of X by the root of Σ_j |X·Xᵀ|_ij, rows being the shorter side.
    """
    if g.shape[0] > g.shape[1]:
        return newton_schulz(g.T, coefficients, eps, first).T
    if first == "aol":
        size = np.abs(g @ g.T).sum(axis=1, keepdims=True)
        g = g / np.sqrt(np.maximum(size, eps))
    u, s, vt = np.linalg.svd(g, full_matrices=False)
    if first == "frobenius":
        s = s / (np.sqrt(np.sum(s**2)) + eps)
    elif first == "spectral":
        s = s / (s.max() + eps)
    elif first == "schatten":
        s = s / np.sqrt(max(np.sqrt(np.sum(s**4)), eps))
    for a, b, c in coefficients:
        s = f32(a) * s + f32(b) * s**3 + f32(c) * s**5
    return (u * s) @ vt


def muon(
    learning_rate,
    ns_coeffs=JORDAN,
    ns_steps=5,
    beta=0.95,
    eps=1e-8,
    weight_decay=0.0,
    *,
    nesterov=True,
    adaptive=False,
    preconditioning="frobenius",
    consistent_rms=None,
    sides=None,
):
    """Momentum, orthogonalized.

        M ← β·M + (1 − β)·G                                   M_0 = 0
        B = β·M/(1 − β^(t+1)) + (1 − β)·G/(1 − β^t)           or, without nesterov, M/(1 − β^t)
        O = NS(B), times ⟨B, O⟩ if adaptive
        W ← W − η·(√max(1, out/in)·O + λ·W)                   or 0.2·√max(in, out) with consistent_rms = 0.2

    for W of shape (in, out). `sides` names the axes of in and of out, each a tuple, where there are more: all others
    number matrices, each of which is treated by itself. Source: Jordan et al. 2024 and its code, in torch's (out, in);
    Liu et al. 2025, arXiv 2502.16982, algorithm 1; the mean in place of the sum, its bias correction and ⟨B, O⟩ over
    all matrices together as in optax.
    """
    beta, eps = f32(beta), f32(eps)
    if isinstance(ns_coeffs, str):
        ns_coeffs = {"dion": DION, "standard": JORDAN}[ns_coeffs]
    rows = ns_coeffs if np.ndim(ns_coeffs) == 2 else [ns_coeffs] * ns_steps
    rows_of, columns_of = ((0,), (1,)) if sides is None else sides

    def each_matrix(b):
        others = [a for a in range(b.ndim) if a not in (*rows_of, *columns_of)]
        o = np.zeros_like(b)
        for place in np.ndindex(*(b.shape[a] for a in others)):
            index = [slice(None)] * b.ndim
            for a, i in zip(others, place, strict=True):
                index[a] = i
            kept = [a for a in range(b.ndim) if a not in others]
            order = [kept.index(a) for a in (*rows_of, *columns_of)]
            part = np.transpose(b[tuple(index)], order)
            n_in = int(np.prod(part.shape[: len(rows_of)]))
            n_out = int(np.prod(part.shape[len(rows_of) :]))
            x = newton_schulz(part.reshape(n_in, n_out), rows, eps, preconditioning)
            o[tuple(index)] = np.transpose(x.reshape(part.shape), np.argsort(order))
        scale = np.sqrt(max(1.0, n_out / n_in))
        if consistent_rms is not None:
            scale = f32(consistent_rms) * np.sqrt(max(n_in, n_out))
        return o * (np.sum(b * o) if adaptive else 1.0) * scale

    def directions(gradients):
        m = np.zeros_like(gradients[0])
        for t, g in enumerate(gradients, start=1):
            m = beta * m + (1 - beta) * g
            b = m / (1 - beta**t)
            if nesterov:
                b = beta * m / (1 - beta ** (t + 1)) + (1 - beta) * g / (1 - beta**t)
            yield each_matrix(b)

    return descend(learning_rate, directions, weight_decay)
