"""What JAX calls differently from version to version: this file alone asks which one is installed."""

import contextlib
from typing import Any

import jax

OLD: Any = jax
"""JAX with the names that newer versions, and so the type checker, no longer know."""


def set_mesh(mesh: Any) -> contextlib.AbstractContextManager[Any]:
    """The context in which `mesh` is the mesh: `jax.set_mesh`, before JAX 0.7 `jax.sharding.use_mesh`."""
    return jax.set_mesh(mesh) if hasattr(jax, "set_mesh") else OLD.sharding.use_mesh(mesh)


def varying(aval: Any) -> frozenset[str]:
    """The mesh axes over which a type varies in `shard_map`; older versions of JAX have them as `vma`."""
    kind = getattr(aval, "manual_axis_type", None)
    return frozenset((getattr(aval, "vma", None) or ()) if kind is None else kind.varying)


def as_varying(x: Any, axes: tuple[str, ...]) -> Any:
    """`x`, of a type that varies over `axes`: `jax.lax.pcast`, in older versions of JAX `pvary`."""
    return jax.lax.pcast(x, axes, to="varying") if hasattr(jax.lax, "pcast") else OLD.lax.pvary(x, axes)


def float64() -> contextlib.AbstractContextManager[Any]:
    """The context in which new arrays may be float64: `jax.enable_x64`, before JAX 0.8 in `jax.experimental`."""
    return jax.enable_x64(True) if hasattr(jax, "enable_x64") else OLD.experimental.enable_x64(True)
