"""Learning rates of a deeper residual model."""

from typing import Literal, NamedTuple

from .. import _check as check

Optimizer = Literal["adam", "adamw", "lion", "sgd"]


class DepthScale(NamedTuple):
    """What to change in a deeper residual model; see `scale_for_depth`."""

    branch: float
    """Factor of what each residual branch adds: x + branch · f(x)."""
    learning_rate: float
    """Multiplier of the learning rate of all parameters inside the branches."""
    eps: float
    """Multiplier of Adam's `eps` for the parameters inside the branches; 1 where the optimizer has none."""


@check.public
def scale_for_depth(layers: int, base_layers: int, *, alpha: float = 1.0, optimizer: Optimizer = "adam") -> DepthScale:
    """Factors that keep the best learning rate when a residual model becomes deeper: depth-μP and CompleteP.

    With L = layers / base_layers::

      branch = L^-α
      learning_rate = L^(α-1) for adam, adamw and lion, L^(2α-1) for sgd
      eps = L^-α for adam and adamw

    A branch's update then adds 1/L of the change of the residual stream, at every depth. With α = 1 (CompleteP) each
    layer stays far from linear in deep models; α = ½ is depth-μP. The multiplier is for the branches alone, weights,
    biases and norms: the embedding, the last norm and the last layer keep their rate. In width and depth together,
    multiply it by what `scale_for_width` gives.

    Args:
      layers: residual branches of the deep model (or its blocks: only the ratio counts).
      base_layers: those of the base model.
      alpha: α, in [1/2, 1].
      optimizer: the rule that the multiplier is for.

    Returns:
      A `DepthScale` of floats.

    Raises:
      ValueError: if a number of layers is not positive, or α is outside [1/2, 1].

    Examples:
      >>> import lrx
      >>> lrx.scale_for_depth(24, 6, alpha=0.5)
      DepthScale(branch=0.5, learning_rate=0.5, eps=0.5)
      >>> depth = lrx.scale_for_depth(24, 6)
      >>> tx = lrx.chain(lrx.adam(1e-3), lrx.by_multiplier(lrx.by_path({"block": depth.learning_rate, "": 1.0})))

    References:
      Yang et al. 2023, arXiv:2310.02244 (α = 1/2); Dey et al. 2025, arXiv:2505.01618, table 1 (α = 1).
    """
    check.positive_count(layers=layers, base_layers=base_layers)
    check.one_of(Optimizer, optimizer=optimizer)
    check.finite(alpha=alpha)
    if not 0.5 <= alpha <= 1:
        raise check.fail("alpha", "must be in [0.5, 1]", alpha)
    deeper = layers / base_layers
    rate = deeper ** (2 * alpha - 1 if optimizer == "sgd" else alpha - 1)
    return DepthScale(deeper**-alpha, rate, deeper**-alpha if optimizer.startswith("adam") else 1.0)
