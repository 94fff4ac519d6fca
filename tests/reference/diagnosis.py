"""What the meters measure, from its definition, in float64."""

import numpy as np


def monitor(parameters, gradients, updates, decay):
    """Running statistics of training: one row of numbers after each step.

        ratio ← E ‖u_t‖ / ‖θ_t‖              where u_t ≠ 0
        c ← E ⟨g_t, g_s⟩ / ‖g_t‖‖g_s‖        s < t the last step whose gradient counted
        S = max(E ⟨g_t, g_s⟩, 0),  S / (E ‖g_t‖‖g_s‖ − S)

    with E x_t the mean of x_1 … x_t under the weights decayᵗ⁻ⁱ. A step whose gradient or update is not finite counts
    as skipped and changes nothing else. Source of the last: McCandlish et al. 2018, arXiv 1812.06162, |G|² and tr Σ.
    """

    def mean(xs):
        weights = decay ** np.arange(len(xs))[::-1]
        return np.sum(weights * xs) / np.sum(weights) if xs else np.nan

    ratios, cosines, products, sizes, skipped, last = [], [], [], [], 0, None
    norm = l1 = 0.0
    for p, g, u in zip(parameters, gradients, updates, strict=True):
        if not (np.isfinite(g).all() and np.isfinite(u).all()):
            skipped += 1
        else:
            norm, l1 = np.linalg.norm(g), np.abs(g).sum()
            if np.linalg.norm(u) > 0:
                ratios.append(np.linalg.norm(u) / np.linalg.norm(p))
            if last is not None:
                product, size = np.vdot(last, g).real, norm * np.linalg.norm(last)
                cosines.append(product / size)
                products.append(product)
                sizes.append(size)
            last = g
        signal = max(mean(products), 0)
        yield {
            "update_ratio": mean(ratios),
            "gradient_norm": norm,
            "gradient_l1": l1,
            "cosine": mean(cosines),
            "signal_to_noise": signal / (mean(sizes) - signal),
            "skipped": skipped,
        }


def diverges(momentum, nesterov, mean, rate, steps=4000):
    """Whether a step with momentum diverges on x²/2: by running it.

    v ← b·v + d·g, x ← x − η·v, or x ← x − η·(b·v + d·g) with Nesterov's momentum; d = 1 − b for a mean, else 1.
    Adam's mean is of the latter kind; its corrections for the start are left out.
    """
    b, d, x, v = momentum, 1 - momentum if mean else 1.0, 1.0, 0.0
    for _ in range(steps):
        v = b * v + d * x
        x = x - rate * (b * v + d * x if nesterov else v)
        if abs(x) > 1e6:
            return True
    return False


def preconditioned_eigenvalue(hessian, divisor):
    """The largest eigenvalue of P⁻¹H, P diagonal."""
    return np.linalg.eigvals(hessian / np.asarray(divisor)[:, None]).real.max()
