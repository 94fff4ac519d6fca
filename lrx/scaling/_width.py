"""The maximal update parametrization: learning rates of a wider model from shapes alone."""

import math
import re
from typing import Any, Literal

from .. import _check as check
from ._axes import AUTO, EMBEDDING, ENTRIES
from ._growth import Growth, map_growths

Optimizer = Literal["adam", "adamw", "lion", "sgd", "muon"]
Output = Literal["weights", "multiplier"]

WITHIN = re.compile(r"router|gate|gating|^(k|v|key|value)(_proj)?$")
"""Names of layers whose outputs do not grow though they are not the last ones."""


@check.public
def scale_for_width(
    params: Any,
    base_params: Any,
    *,
    optimizer: Optimizer = "adam",
    axes: Any = AUTO,
    output: Output = "weights",
    last: str | None = None,
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
    - An embedding that is the last layer too takes `output="multiplier"` and `output_multiplier` in the model. With
      it, only the last layer's outputs are multiplied: where more layers keep the size of their outputs, such as the
      keys of grouped attention or the router of experts, name it in `last`.
    - Adam's `eps` should be small beside gradients that fall as 1/m.

    Args:
      params: parameters of the wide model, or their shapes as `jax.eval_shape` gives them.
      base_params: the same of the base model: equal in all but width, also in the number of layers.
      optimizer: the rule that the multipliers are for. "muon": with the scale s of its author, `consistent_rms=None`.
      axes: which axes of a parameter are inputs (`i`) and outputs (`o`): a string with a letter for each of its last
        axes, such as "io" (x @ w), "oi" (Equinox, torch) or "hwio", or a tree of such strings, or a function that
        gives one, as `by_path` makes. "auto" tells by the names of Flax, Haiku and Equinox, by the axes that grew and
        by the biases beside them. A parameter of one axis is a vector, unless "i" is said.
      output: where the last layer's 1/m stands: in its "weights", so that the model does not change, or in a
        "multiplier" of what it puts out, which the model applies (see `output_multiplier`).
      last: with `output="multiplier"`, a regular expression that is found in the paths of the last layer's weights
        alone. None: the only ones whose inputs grew and whose outputs did not.

    Returns:
      A tree of floats like `params`; 1.0 for what is not an array.

    Raises:
      ValueError: if the trees differ in more than width; if it is not clear which axes are inputs and outputs, or
        which layer is the last one.
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
    lasts = last_layers(params, base_params, axes, last) if output == "multiplier" else {}

    def multiplier(growth: Growth | None, *leaves: Any) -> float:
        del leaves
        if growth is None:
            return 1.0
        scale = _multiplier(growth, optimizer)
        if growth.name in lasts:  # the model divides by i: the weights' updates are larger
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
    inputs = growth.along("i", shape) * growth.along(ENTRIES, shape)
    return math.sqrt(max(1.0, growth.along("o", shape) / inputs))


def last_layers(params: Any, base_params: Any, axes: Any, last: str | None) -> dict[str, float]:
    """By path, the factor by which the inputs of the last layer's weights grew; {} if no layer's inputs alone did."""
    if last is not None and not isinstance(last, str):
        raise TypeError(f"{check.where('last')} must be a regular expression or None, got {last!r}.")
    growths: list[Growth] = []
    map_growths(lambda growth, *_: None if growth is None else growths.append(growth), params, base_params, axes)
    if last is None:
        found = [g for g in growths if g.is_output]
        _agree({g.name: g.fan_in for g in found})
        likely = [g.name for g in found if not any(map(WITHIN.search, g.name.lower().split(".")))]
        if len(found) > 1 or len(likely) < len(found):
            way_out = f", such as last={likely[-1]!r}" if likely else ""
            raise ValueError(
                f"{check.where('last')} must say which parameters are the last layer's, got None where the inputs of "
                f"{', '.join(repr(g.name) for g in found[:8])} grew and the outputs did not. "
                f"Give a part of its path{way_out}."
            )
    elif not (found := [g for g in growths if len(g.shape) > 1 and re.search(last, g.name)]):
        raise check.fail("last", "must be found in a parameter's path", last, f"Paths: {[g.name for g in growths][:8]}")
    return {g.name: g.fan_in if g.is_matrix and g.fan_in != 1 else g.fan_out for g in found}


def _agree(found: dict[str, float]) -> None:
    factors = sorted(set(found.values()))
    if len(factors) > 1:
        what = ", ".join(f"{1 / f:g} for {next(name for name in found if found[name] == f)!r}" for f in factors[:2])
        raise ValueError(
            f"{check.where('params')} must have one output multiplier, got {what}. Say which it is in last=."
        )


@check.public
def output_multiplier(params: Any, base_params: Any, *, axes: Any = AUTO, last: str | None = None) -> float:
    """The factor of the last layer's output in a wider model, base fan_in / fan_in, for `output="multiplier"`.

    Where there is no last layer, an embedding is taken to be it too, and its features are what it gets.

    Args:
      params: parameters of the wide model, or their shapes.
      base_params: the same of the base model.
      axes: as in `scale_for_width`.
      last: as in `scale_for_width`; the path of an embedding that is the last layer too may be given.

    Returns:
      The factor by which the model multiplies what its last layer puts out; 1.0 if no width grew.

    Raises:
      ValueError: if it is not clear which layer is the last one; as in `scale_for_width`.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> lrx.output_multiplier({"w": jnp.zeros((256, 2))}, {"w": jnp.zeros((64, 2))})
      0.25

    References:
      Yang et al. 2022, arXiv:2203.03466, table 8.
    """
    found = last_layers(params, base_params, axes, last)
    if not found:
        growths: list[Growth] = []
        map_growths(lambda growth, *_: None if growth is None else growths.append(growth), params, base_params, axes)
        found = {g.name: g.fan_out for g in growths if g.is_matrix and g.fan_out != 1 and EMBEDDING.search(g.name)}
        if not found and any(g.shape != g.base_shape for g in growths):
            raise ValueError(
                f"{check.where('params')} must have a last layer, whose inputs alone grow, got none. "
                "Give its path: last='head'."
            )
    _agree(found)
    return 1 / next(iter(found.values()), 1.0)
