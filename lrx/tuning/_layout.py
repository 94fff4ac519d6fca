"""Where the members of a population are: how many are on the devices at a time, and how many of them train at once."""

import dataclasses
from typing import Any, Literal

import jax
import numpy as np
from jax.sharding import Mesh

from .. import _check as check

Method = Literal["auto", "vmap", "map"]

LANES = 16
"""Members that `method="map"` trains at once, at most. On two cores 8 to 32 take the same time; one by one takes half
as long again, and so do 64 networks of 50,000 parameters, whose state leaves the cache."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """`size` members are on the devices at a time; each device trains `lanes` of them at once, in turns."""

    size: int
    lanes: int
    mesh: Mesh | None = None
    axis: str | None = None

    @property
    def devices(self) -> int:
        """Over how many devices the members are divided."""
        return 1 if self.mesh is None else self.mesh.shape[self.axis]

    @property
    def spans_processes(self) -> bool:
        """Whether some of the devices belong to other processes."""
        return self.mesh is not None and len({d.process_index for d in self.mesh.devices.flat}) > 1

    def turns(self, members: int) -> np.int32:
        """How many turns a device takes to update the first `members` members once."""
        return np.int32(-(-min(members, self.size // self.devices) // self.lanes))


def lay_out(members: int, chunk_size: int | None = None, method: Method = "auto", mesh: Any = None) -> Layout:
    """The layout for the arguments of `lrx.sweep`.

    Args:
      members: how many there are.
      chunk_size: how many may be on the devices at a time, or None for all.
      method: "vmap", "map" or "auto".
      mesh: a mesh of one axis, or a mesh and the name of an axis, or None.
    """
    check.one_of(("auto", "vmap", "map"), method=method)
    mesh, axis = _mesh(mesh)
    devices = 1 if mesh is None else mesh.shape[axis]
    share = -(-members // devices)  # of a device, padded
    most = None
    if chunk_size is not None:
        check.positive_count(chunk_size=chunk_size)
        if chunk_size < devices:
            raise check.fail("chunk_size", f"must be at least 1 for each of {devices} devices", chunk_size)
        most = int(chunk_size) // devices
        share = min(share, most)
    lanes = share
    if method == "map" or (method == "auto" and _platform(mesh) == "cpu"):
        turns = -(-share // LANES)
        lanes = -(-share // turns)  # as even as can be: 33 members are 3 × 11, not 16 + 16 + 1
        if most is not None and lanes * turns > most:
            lanes = share // turns
        share = lanes * turns
    return Layout(share * devices, lanes, mesh, axis)


def _mesh(given: Any) -> tuple[Mesh | None, str | None]:
    """A mesh and the name of the axis over which members are divided."""
    if given is None:
        return None, None
    mesh, axis = given if isinstance(given, tuple) and len(given) == 2 else (given, None)
    if not isinstance(mesh, Mesh):
        rule = "must be a jax.sharding.Mesh, or a Mesh and the name of one of its axes"
        raise TypeError(f"{check.where('mesh')} {rule}, got {given!r}.")
    names = mesh.axis_names
    if axis is None and len(names) == 1:
        axis = names[0]
    if axis not in names:
        raise check.fail("mesh", f"must come with one of its axes, as mesh=(mesh, {names[0]!r})", given)
    if jax.process_index() not in {d.process_index for d in mesh.devices.flat}:
        rule = f"must have devices of each process that calls it, none of them is of process {jax.process_index()}"
        raise check.fail("mesh", rule, mesh, "Use jax.make_mesh, which takes all devices.")
    # without the types of its axes: the program states how its arguments are divided, and does not infer it
    return Mesh(mesh.devices, names), axis


def _platform(mesh: Mesh | None) -> str:
    return jax.default_backend() if mesh is None else mesh.devices.flat[0].platform
