"""The maximal update parametrization: learning rates of a wider model from shapes alone."""

import math
from typing import Any, Literal

from .. import _check as check
from ._growth import AUTO, Growth, map_growths

Optimizer = Literal["adam", "adamw", "lion", "sgd", "muon"]
Output = Literal["weights", "multiplier"]


@check.public
def scale_for_width(
    params: Any, base_params: Any, *, optimizer: Optimizer = "adam", axes: Any = AUTO, output: Output = "weights"
) -> Any:
    """Multipliers of the learning rate that keep its best value when a model becomes wider: μP.

    From each parameter's shape and that in the base model, with i = fan_in / base fan_in and o = fan_out / base
    fan_out (1 along what did not grow; i = 1 for biases and other vectors), its multiplier is::

      adam, adamw, lion    1 / i
      sgd                  o / i
      muon                 √(o / i) · s(base shape) / s(shape), s = √max(1, fan_out / fan_in); vectors as with adam

    so that each update changes what a layer puts out by the same amount at every width. With m = the growth of the
    width: for Adam 1/m on hidden matrices and on the last layer, 1 on the first layer and on vectors; for gradient
    descent 1, 1/m, m and m.

    The multipliers are for parameters that start as μP says: pass them through `rescale_init`. Tune the base model,
    then train the wide one at the same learning rate with `lrx.chain(tx, lrx.by_multiplier(multipliers))`.

    - Weight decay: behind `adamw` the multipliers act on its decay too. Where the decay η λ per step is to stay
      as it is in the base model, put them before it: `chain(scale_by_adam(), by_multiplier(multipliers),
      add_decayed_weights(λ), scale_by_learning_rate(η))`.
    - Attention: where the size of a head grows, divide its logits by that size instead of its square root
      (times the root of the base size); where the number of heads grows, nothing changes.
    - An embedding that is the last layer too takes `output="multiplier"` and `output_multiplier` in the model.
    - Adam's `eps` should be small beside gradients that fall as 1/m.

    Args:
      params: parameters of the wide model, or their shapes as `jax.eval_shape` gives them.
      base_params: the same of the base model: equal in all but width, also in the number of layers.
      optimizer: the rule that the multipliers are for. "muon": with the scale s of its author, `consistent_rms=None`.
      axes: which axes of a parameter are inputs (`i`) and outputs (`o`): a string with a letter for each of its last
        axes, such as "io" (x @ w), "oi" (Equinox, torch) or "hwio", or a tree of such strings, or a function that
        gives one, as `by_path` makes. "auto" tells by the names of Flax, Haiku and Equinox, and by the axes that grew.
      output: where the last layer's 1/m stands: in its "weights", so that the model does not change, or in a
        "multiplier" of what it puts out, which the model applies (see `output_multiplier`).

    Returns:
      A tree of floats like `params`; 1.0 for what is not an array.

    Raises:
      ValueError: if the trees differ in more than width; if it is not clear which axes are inputs and outputs.
      TypeError: if `axes` is of another kind.

    Examples:
      >>> import jax, jax.numpy as jnp, lrx
      >>> def shapes(width):
      ...     return {"in": {"kernel": jnp.zeros((8, width)), "bias": jnp.zeros(width)},
      ...             "hidden": {"kernel": jnp.zeros((width, width))}, "out": {"kernel": jnp.zeros((width, 2))}}
      >>> scales = lrx.scale_for_width(jax.eval_shape(lambda: shapes(256)), jax.eval_shape(lambda: shapes(64)))
      >>> scales["in"], scales["hidden"], scales["out"]
      ({'bias': 1.0, 'kernel': 1.0}, {'kernel': 0.25}, {'kernel': 0.25})
      >>> tx = lrx.chain(lrx.adam(3e-3), lrx.by_multiplier(scales))

    References:
      Yang et al. 2022, arXiv:2203.03466, tables 3 (`output="weights"`) and 8 (`output="multiplier"`); Yang, Simon and
      Bernstein 2023, arXiv:2310.17813, condition 1, for muon.
    """
    check.one_of(Optimizer, optimizer=optimizer)
    check.one_of(Output, output=output)

    def multiplier(growth: Growth | None, *leaves: Any) -> float:
        del leaves
        if growth is None:
            return 1.0
        scale = _multiplier(growth, optimizer)
        if output == "multiplier" and growth.is_output:  # the model divides by i: the weights' updates are larger
            scale *= growth.fan_in ** (2 if optimizer == "sgd" else 1)
        return scale

    return map_growths(multiplier, params, base_params, axes)


def _multiplier(growth: Growth, optimizer: str) -> float:
    i, o = growth.fan_in, growth.fan_out
    if optimizer == "sgd":
        return o / i
    if optimizer == "muon" and growth.is_matrix:
        return math.sqrt(o / i) * _muon_scale(growth, growth.base_shape) / _muon_scale(growth, growth.shape)
    return 1 / i


def _muon_scale(growth: Growth, shape: tuple[int, ...]) -> float:
    return math.sqrt(max(1.0, growth.along("o", shape) / growth.along("i", shape)))


@check.public
def output_multiplier(params: Any, base_params: Any, *, axes: Any = AUTO) -> float:
    """The factor of the last layer's output in a wider model, base fan_in / fan_in, for `output="multiplier"`.

    Args:
      params: parameters of the wide model, or their shapes.
      base_params: the same of the base model.
      axes: as in `scale_for_width`.

    Returns:
      The factor by which the model multiplies what its last layer puts out; 1.0 if no width grew.

    Raises:
      ValueError: if parameters whose inputs alone grew do not agree; as in `scale_for_width`.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> lrx.output_multiplier({"w": jnp.zeros((256, 2))}, {"w": jnp.zeros((64, 2))})
      0.25

    References:
      Yang et al. 2022, arXiv:2203.03466, table 8.
    """
    found: dict[float, str] = {}

    def collect(growth: Growth | None, *leaves: Any) -> None:
        del leaves
        if growth is not None and growth.is_output:
            found.setdefault(1 / growth.fan_in, growth.name)

    map_growths(collect, params, base_params, axes)
    if len(found) > 1:
        (a, x), (b, y), *_ = found.items()
        raise ValueError(
            f"{check.where('params')} must have one output multiplier, got {a:g} for {x!r}, {b:g} for {y!r}."
        )
    return next(iter(found), 1.0)
