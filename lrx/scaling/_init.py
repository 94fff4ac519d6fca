"""The initial values of a wider model, as the maximal update parametrization has them."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .. import _check as check
from .._boxes import boxed_like
from .._numbers import is_tracer
from ._axes import AUTO
from ._growth import Growth, map_growths
from ._width import Output, last_layers

SURE = 3.0
"""Standard errors by which a measured growth must differ from the usual one to be believed."""


@check.public
def rescale_init(
    params: Any, base_params: Any, *, axes: Any = AUTO, output: Output = "weights", last: str | None = None
) -> Any:
    """Rescale a wider model's initial values as μP has them.

    With i = fan_in / base fan_in, the standard deviation σ of each parameter's initial values becomes::

      σ = base σ · { 1 / √i   hidden matrices
                     1 / i    the last layer (1 with `output="multiplier"`)
                     1        the first layer, embeddings and vectors

    What an initializer by fan-in has done already is left as it is: under Flax's, Haiku's and Equinox's defaults, it
    is mostly the last layer that changes, by 1 / √i, and Flax's `Embed`, which starts with σ = 1 / √features. If
    `base_params` holds arrays, how σ grew is measured (rounded to half a power of the width's growth), so that a
    constant σ and one by fan-out come out right too; with shapes alone, σ ~ 1 / √fan_in is assumed for matrices.
    Zeros and other constants stay.

    Args:
      params: initial parameters of the wide model.
      base_params: those of the base model, made by the same code, or their shapes.
      axes: as in `scale_for_width`.
      output: as in `scale_for_width`.
      last: as in `scale_for_width`.

    Returns:
      The parameters, rescaled; shapes and dtypes stay.

    Raises:
      ValueError, TypeError: as in `scale_for_width`.

    Examples:
      >>> import jax, jax.numpy as jnp, lrx
      >>> params = {"hidden": {"kernel": jnp.ones((256, 256))}, "out": {"kernel": jnp.ones((256, 2))}}
      >>> shapes = {"hidden": {"kernel": jnp.ones((64, 64))}, "out": {"kernel": jnp.ones((64, 2))}}
      >>> new = lrx.rescale_init(params, jax.eval_shape(lambda: shapes))
      >>> print(new["hidden"]["kernel"][0, 0], new["out"]["kernel"][0, 0])
      1.0 0.5

    References:
      Yang et al. 2022, arXiv:2203.03466, tables 3 and 8.
    """
    check.one_of(Output, output=output)
    lasts = last_layers(params, base_params, axes, last) if output == "multiplier" else {}

    def rescaled(growth: Growth | None, leaf: Any, base_leaf: Any) -> Any:
        [x], [base] = jax.tree.leaves(leaf), jax.tree.leaves(base_leaf)
        if growth is None or not isinstance(x, jax.Array | np.ndarray) or not jnp.issubdtype(x.dtype, jnp.inexact):
            return leaf
        factor = _target(growth, lasts) / _std_growth(growth, x, base)
        return leaf if factor == 1 else boxed_like(leaf, jnp.asarray(x * factor, x.dtype))

    return map_growths(rescaled, params, base_params, axes)


def _target(growth: Growth, lasts: dict[str, float]) -> float:
    """How σ grows in μP."""
    if growth.name in lasts:
        return 1.0
    return 1 / growth.fan_in if growth.is_output else growth.fan_in**-0.5


def _std_growth(growth: Growth, x: Any, base: Any) -> float:
    """How σ grew: measured if both are arrays that vary, and clearly not as an initializer by fan-in has it."""
    usual = growth.fan_in**-0.5
    width = max(growth.fan_in, growth.fan_out, key=lambda g: abs(math.log(g)))
    if width == 1 or is_tracer(x):
        return usual
    if not isinstance(base, jax.Array | np.ndarray):
        return growth.fan_out**-0.5 if _is_by_features(growth, x) else usual
    std, base_std = (float(np.std(np.asarray(a, np.float64))) for a in (x, base))
    if not (math.isfinite(std) and math.isfinite(base_std) and std > 0 and base_std > 0):
        return usual
    measured = math.log(std / base_std)
    error = math.sqrt(0.5 / x.size + 0.5 / base.size)
    if abs(measured - math.log(usual)) <= SURE * error:
        return usual
    return width ** (round(2 * measured / math.log(width)) / 2)


def _is_by_features(growth: Growth, x: Any) -> bool:
    """Whether an embedding has a standard deviation of 1 / √features, as Flax starts it."""
    if growth.fan_in != 1 or not growth.name.endswith("embedding") or x.ndim != 2:
        return False
    expected, error = x.shape[-1] ** -0.5, math.sqrt(0.5 / x.size)
    return abs(float(np.std(np.asarray(x, np.float64))) / expected - 1) <= SURE * error
