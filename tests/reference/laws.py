"""The loss laws term by term in float64, from the papers' formulas: slow, and with nothing carried from step to step.

Rates are those after the warmup, of which the sum S_W is given; the loss at t comes after the updates 0 … t − 1.
"""

import numpy as np


def multi_power(t, rates, S_W, L0, A, alpha, B, C, beta, gamma):
    """Luo et al. 2025: L0 + A (S1 + S_W)^−alpha − B Σ_k (η_{k−1} − η_k) G(η_k^−gamma S_k), G = 1 − (C x + 1)^−beta."""
    eta = np.asarray(rates, np.float64)
    LD = 0.0
    for k in range(1, t):
        S_k = np.sum(eta[k:t])
        G = 1 - (C * eta[k] ** -gamma * S_k + 1) ** -beta if eta[k] > 0 else 0.0
        LD += (eta[k - 1] - eta[k]) * G
    return L0 + A * (np.sum(eta[:t]) + S_W) ** -alpha - B * LD


def momentum(t, rates, S_W, L0, A, alpha, C, horizon):
    """Tissue et al. 2024: L0 + A S1^−alpha − C S2, S2 = Σ_i Σ_{k≤i} (η_{k−1} − η_k) λ^(i−k)."""
    eta, lam = np.asarray(rates, np.float64), 1 - 1 / horizon
    S2 = sum((eta[k - 1] - eta[k]) * lam ** (i - k) for i in range(1, t) for k in range(1, i + 1))
    return L0 + A * (np.sum(eta[:t]) + S_W) ** -alpha - C * S2
