"""A bound from convex optimization that ranks schedules, and transfers rates between them, before any training."""

from typing import NamedTuple

import numpy as np


class ConvexBound(NamedTuple):
    """Of a schedule over a run of known length, up to constants that all schedules share."""

    bound: float
    """The suboptimality that gradient descent at the best peak is guaranteed to fall below."""
    peak: float
    """That best peak."""


def convex_bound(values: np.ndarray) -> ConvexBound:
    """The guarantee for the last iterate of gradient descent on a convex function, minimised over the peak.

    With the values η₁ … η_T at a peak γ = 1, a start within D of a minimum and gradients up to G::

      Ω(γ) = D² / (2γ Σ_t η_t) + γ G² (Σ_t η_t² / (2 Σ_t η_t) + ½ Σ_{k<T} η_k / α_k · Σ_{t≥k} η_t² / β_k)
      α_k = Σ_{t>k} η_t,   β_k = Σ_{t≥k} η_t

    which is a / γ + b γ: smallest at γ = √(a / b), where it is 2 √(ab). Only ratios between schedules mean anything, as
    D and G are set to 1.

    Args:
      values: the rate of each update at any one peak, [steps]; none negative, and not all zero. Zeros at the end move
        nothing, so the last iterate is the one before them.

    References:
      Defazio, Cutkosky, Mehta and Mishchenko, Optimal linear decay learning rate schedules and further refinements
      (2023), arXiv 2310.07831, theorem 10. Schaipp, Hägele, Taylor, Simsekli and Bach, The surprising agreement
      between convex optimization theory and learning-rate scheduling for large model training (2025), arXiv
      2501.18965, who find that it ranks schedules and transfers rates in practice.
    """
    eta = np.asarray(values, np.float64)
    scale = eta.max()
    eta = eta / scale
    squares = np.cumsum((eta**2)[::-1])[::-1]
    beta = np.cumsum(eta[::-1])[::-1]
    alpha = np.append(beta[1:], 0.0)
    k = alpha > 0  # k < T, where T is the last rate that is not zero
    a = 1 / (2 * beta[0])
    b = squares[0] / (2 * beta[0]) + 0.5 * np.sum(eta[k] / alpha[k] * squares[k] / beta[k])
    return ConvexBound(2 * np.sqrt(a * b), np.sqrt(a / b))
