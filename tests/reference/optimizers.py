"""Optimizers as float64 loops over the gradients of one array, written as the papers write them.

    path = trajectory(adam(1e-3), x0, gradients)    # [steps + 1, ...]

Each optimizer takes optax's arguments and returns a generator function: (x0, gradients) in, x_1, x_2, … out.
Hyperparameters are rounded to float32, the precision in which a user's number arrives; 1 − β, β^t and everything else
is float64. A learning rate is a number or a function of the count t − 1 = 0, 1, 2, …, whose values are not rounded.
In the formulas t = 1, 2, … numbers the steps, g is the gradient of step t, and η is the rate of step t. The array may
have any shape: where an optimizer looks at the shape, the array is one leaf. Optimizers whose direction doesn't depend
on x are written as a generator function of directions, gradients in, u_1, u_2, … out, which `descend` follows.
"""

import numpy as np

from tests.reference.adaptive import adabelief as adabelief
from tests.reference.adaptive import adadelta as adadelta
from tests.reference.adaptive import adamax as adamax
from tests.reference.adaptive import adamaxw as adamaxw
from tests.reference.adaptive import amsgrad as amsgrad
from tests.reference.adaptive import nadam as nadam
from tests.reference.adaptive import nadamw as nadamw
from tests.reference.adaptive import radam as radam
from tests.reference.adaptive import yogi as yogi
from tests.reference.composition import accumulate as accumulate
from tests.reference.composition import adaptive_grad_clip as adaptive_grad_clip
from tests.reference.composition import cautious as cautious
from tests.reference.composition import clip as clip
from tests.reference.composition import clip_by_block_rms as clip_by_block_rms
from tests.reference.composition import clipped as clipped
from tests.reference.composition import ema_of_parameters as ema_of_parameters
from tests.reference.composition import kahan_sum as kahan_sum
from tests.reference.composition import lookahead as lookahead
from tests.reference.contributed import acprop as acprop
from tests.reference.contributed import madgrad as madgrad
from tests.reference.contributed import normalize as normalize
from tests.reference.contributed import simplified_ademamix as simplified_ademamix
from tests.reference.factored import adafactor as adafactor
from tests.reference.factored import adam_mini as adam_mini
from tests.reference.factored import sm3 as sm3
from tests.reference.loop import descend, of_count
from tests.reference.loop import trajectory as trajectory
from tests.reference.matrices import muon as muon
from tests.reference.recent import adan as adan
from tests.reference.recent import ademamix as ademamix
from tests.reference.recent import adopt as adopt
from tests.reference.recent import mars as mars
from tests.reference.recent import sophia as sophia
from tests.reference.schedules import f32
from tests.reference.sign_and_trust import lamb as lamb
from tests.reference.sign_and_trust import lars as lars
from tests.reference.sign_and_trust import lion as lion
from tests.reference.sign_and_trust import novograd as novograd
from tests.reference.sign_and_trust import rprop as rprop
from tests.reference.sign_and_trust import sign_sgd as sign_sgd
from tests.reference.sign_and_trust import signum as signum


def sgd(learning_rate, momentum=None, nesterov=False):
    """Gradient descent with heavy-ball or Nesterov momentum.

        m ← g + μ·m
        x ← x − η·m              or, with nesterov,    x ← x − η·(g + μ·m)

    Without momentum μ = 0. Source: optax's and torch's documentation; they agree (torch: dampening 0). The buffer m
    is a sum, not an average, and η stands outside it.
    """
    eta = of_count(learning_rate)
    mu = 0.0 if momentum is None else f32(momentum)

    def iterates(x, gradients):
        m = np.zeros_like(x)
        for t, g in enumerate(gradients, start=1):
            m = g + mu * m
            d = g + mu * m if nesterov else m
            x = x - eta(t - 1) * d
            yield x

    return iterates


def adagrad(learning_rate, initial_accumulator_value=0.1, eps=1e-7):
    """Divide by the root of the sum of all squared gradients.

        s ← s + g²                      s_0 = initial_accumulator_value
        x ← x − η·g/√(s + ε)            and no step where s = 0

    Source: Duchi, Hazan & Singer 2011 (the diagonal form), with ε as in optax. torch divides by √s + ε.
    """
    eta = of_count(learning_rate)
    s0, eps = f32(initial_accumulator_value), f32(eps)

    def iterates(x, gradients):
        s = np.full_like(x, s0)
        for t, g in enumerate(gradients, start=1):
            s = s + g**2
            root = np.sqrt(s + eps)
            d = np.where(s > 0, g / np.where(s > 0, root, 1.0), 0.0)
            x = x - eta(t - 1) * d
            yield x

    return iterates


def rmsprop(
    learning_rate,
    decay=0.9,
    eps=1e-8,
    initial_scale=0.0,
    eps_in_sqrt=True,
    centered=False,
    momentum=None,
    nesterov=False,
    bias_correction=False,
):
    """Divide by a running root mean square, or standard deviation, of the gradients.

        v ← ρ·v + (1 − ρ)·g²            v_0 = initial_scale
        a ← ρ·a + (1 − ρ)·g             a_0 = 0
        w = v, or v − a² when centered; with bias_correction v and a are first divided by 1 − ρ^t
        d = g/√(w + ε), or g/(√w + ε) without eps_in_sqrt
        u ← μ·u − η·d                   u_0 = 0
        x ← x + u,      or, with nesterov,    x ← x + μ·u − η·d

    with ρ = decay, μ = momentum (0 where there is none). Source: Hinton 2012, lecture 6 (v); Graves 2013, arXiv
    1308.0850 (centered); variants as in optax. η is inside the buffer u, as in TensorFlow; torch's is outside, which
    is the same for a constant rate. torch's ε is that of eps_in_sqrt=False.
    """
    eta = of_count(learning_rate)
    rho, eps, v0 = f32(decay), f32(eps), f32(initial_scale)
    mu = 0.0 if momentum is None else f32(momentum)

    def iterates(x, gradients):
        v, a, u = np.full_like(x, v0), np.zeros_like(x), np.zeros_like(x)
        for t, g in enumerate(gradients, start=1):
            v = rho * v + (1 - rho) * g**2
            a = rho * a + (1 - rho) * g
            correction = 1 - rho**t if bias_correction else 1.0
            w = v / correction - (a / correction) ** 2 if centered else v / correction
            d = g / np.sqrt(w + eps) if eps_in_sqrt else g / (np.sqrt(w) + eps)
            u = mu * u - eta(t - 1) * d
            x = x + (mu * u - eta(t - 1) * d if nesterov else u)
            yield x

    return iterates


def adam(learning_rate, b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0, *, nesterov=False):
    """Adam: `adamw` without weight decay."""
    return adamw(learning_rate, b1, b2, eps, eps_root, weight_decay=0.0, nesterov=nesterov)


def adamw(learning_rate, b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0, weight_decay=1e-4, *, nesterov=False):
    """Adam with decoupled weight decay.

        x ← x − η·(u + λ·x)             u: see `adam_directions`

    with λ = weight_decay, multiplied by η as in optax and torch. Source: Loshchilov & Hutter 2017, arXiv 1711.05101,
    algorithm 2.
    """
    return descend(learning_rate, adam_directions(b1, b2, eps, eps_root, nesterov=nesterov), weight_decay)


def adam_directions(b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0, *, nesterov=False):
    """Divide the average gradient by the root mean square.

        m ← β1·m + (1 − β1)·g           m_0 = 0
        v ← β2·v + (1 − β2)·g²          v_0 = 0
        m̂ = m/(1 − β1^t),     or, with nesterov,    m̂ = β1·m/(1 − β1^(t+1)) + (1 − β1)·g/(1 − β1^t)
        v̂ = v/(1 − β2^t)
        u = m̂/(√(v̂ + ε_root) + ε)

    Source: Kingma & Ba 2014, arXiv 1412.6980, algorithm 1; Dozat 2016 for nesterov (β1 constant, as in optax).
    """
    b1, b2, eps, eps_root = f32(b1), f32(b2), f32(eps), f32(eps_root)

    def directions(gradients):
        m, v = np.zeros_like(gradients[0]), np.zeros_like(gradients[0])
        for t, g in enumerate(gradients, start=1):
            m = b1 * m + (1 - b1) * g
            v = b2 * v + (1 - b2) * g**2
            m_hat = m / (1 - b1**t)
            if nesterov:
                m_hat = b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
            v_hat = v / (1 - b2**t)
            yield m_hat / (np.sqrt(v_hat + eps_root) + eps)

    return directions
