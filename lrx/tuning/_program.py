"""The compiled program that trains a population, and how it is laid out on the devices.

A run of known length needs of its schedule no more than the list of its values. So a member is a row of learning
rates, one for each update, and one program serves every schedule and every number. Members of one seed start from the
same parameters and see the same batches: they differ in nothing but what is compared. A member that diverges goes on
by itself, as inf or nan.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from .. import _check as check
from .._resume import resume
from ..optimizers.apply_updates import apply_updates
from ..problems._problem import Problem, loss_of, scores_of, start_of

LANES = 16
"""Members that `method="map"` trains at once, at most. On two cores 8 to 32 take the same time; one by one takes half
as long again, and so do 64 networks of 50,000 parameters, whose state leaves the cache."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where the members of a population are: `size` at a time on the devices, `lanes` of them at once on each."""

    size: int
    lanes: int
    mesh: Mesh | None = None
    axis: str | None = None

    @property
    def devices(self) -> int:
        """Over how many devices the members are divided."""
        return 1 if self.mesh is None else self.mesh.shape[self.axis]

    def turns(self, members: int) -> np.int32:
        """How often a device trains its lanes in one update of the first `members` members."""
        return np.int32(-(-min(members, self.size // self.devices) // self.lanes))


def lay_out(members: int, chunk_size: int | None = None, method: str = "auto", mesh: Any = None) -> Layout:
    """The layout that a user asked for.

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
    # whatever kinds its axes have: the members' program is told how to divide its arguments, and reads no type
    return Mesh(mesh.devices, names), axis


def _platform(mesh: Mesh | None) -> str:
    return jax.default_backend() if mesh is None else mesh.devices.flat[0].platform


def _divided(f: Callable[..., Any], layout: Layout, *by_member: bool) -> Callable[..., Any]:
    """`f` on each device with its own members; `by_member` tells the arguments that have the members in front."""
    if layout.mesh is None:
        return f
    specs = tuple(P(layout.axis) if x else P() for x in by_member)
    # no member talks to another; what the optimizer keeps per member may be constant, which the check would refuse
    return jax.shard_map(f, mesh=layout.mesh, in_specs=specs, out_specs=P(layout.axis), check_vma=False)


def _over_population(f: Callable[..., Any], members: tuple[Any, ...], seeds: tuple[Any, ...]) -> Callable[..., Any]:
    """`f(*by member, *by seed, *by both, *shared)` over members and seeds, the members inside.

    `members` and `seeds` are the axes of the arguments for the inner and for the outer map: what depends on the
    seed alone, such as its batches, is computed once for all members.
    """
    return jax.vmap(jax.vmap(f, in_axes=members), in_axes=seeds)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def start(
    problem: Problem, make_optimizer: Callable[..., Any], layout: Layout, rates: Any, hyperparams: Any, keys: jax.Array
) -> Any:
    """Models and optimizer states [members, seeds, …], from the rates [members] and the keys [seeds].

    A model is the pair of its parameters and the state that its loss keeps beside them.
    """

    def one(rate: jax.Array, hyper: Any, key: jax.Array) -> Any:
        model = start_of(problem, key)
        return model, make_optimizer(rate, **hyper).init(model[0])

    def share(rates: jax.Array, hyperparams: Any, keys: jax.Array) -> Any:
        return jax.vmap(jax.vmap(one, (None, None, 0)), (0, 0, None))(rates, hyperparams, keys)

    return _divided(share, layout, True, True, False)(rates, hyperparams, keys)


@functools.partial(jax.jit, static_argnums=(0, 1, 2), static_argnames=("learn",), donate_argnums=(4,))
def advance(
    problem: Problem,
    make_optimizer: Callable[..., Any],
    layout: Layout,
    hyperparams: Any,
    carry: Any,
    rates: Any,
    keys: jax.Array,
    begin: Any,
    turns: Any,
    batches: Any,
    learn: bool = True,
) -> tuple[Any, jax.Array]:
    """Some updates of the members in the first `turns` turns of each device; the others stay as they are.

    Args:
      problem: what to train.
      make_optimizer: function of the learning rate.
      layout: where the members are.
      hyperparams: further numbers, name -> [members].
      carry: models and optimizer states [members, seeds, …]; donated.
      rates: of each update, [members, updates].
      keys: of each seed's batches, [seeds].
      begin: updates done before.
      turns: how many groups of `layout.lanes` members each device trains.
      batches: from the host, [updates, …], or None.
      learn: whether to update at all, or only to measure the losses.

    Returns:
      The carry, and the losses before each update [members, seeds, updates], 0 for members that were left out.
    """

    def share(hyperparams: Any, carry: Any, rates: Any, keys: Any, begin: Any, turns: Any, batches: Any) -> Any:
        train = functools.partial(_train, problem, make_optimizer, learn, keys, begin, batches)
        if len(rates) == layout.lanes:
            return train(hyperparams, carry, rates)

        def turn(i: jax.Array, done: Any) -> Any:
            first = i * layout.lanes
            some = functools.partial(jax.lax.dynamic_slice_in_dim, start_index=first, slice_size=layout.lanes)
            new = train(*jax.tree.map(some, (hyperparams, done[0], rates)))
            return jax.tree.map(lambda x, y: jax.lax.dynamic_update_slice_in_dim(x, y, first, 0), done, new)

        losses = jnp.zeros((len(rates), len(keys), rates.shape[1]), jnp.float32)
        return jax.lax.fori_loop(0, turns, turn, (carry, losses))

    by_member = (True, True, True, False, False, False, False)
    return _divided(share, layout, *by_member)(hyperparams, carry, rates, keys, begin, turns, batches)


def _train(
    problem: Problem,
    make_optimizer: Callable[..., Any],
    learn: bool,
    keys: jax.Array,
    begin: jax.Array,
    batches: Any,
    hyperparams: Any,
    carry: Any,
    rates: jax.Array,
) -> tuple[Any, jax.Array]:
    """Some updates of some members, all at once."""

    def update(rate: jax.Array, hyper: Any, model: Any, state: Any, batch: Any, key: jax.Array) -> Any:
        params, before = model

        def loss_at(params: Any) -> tuple[jax.Array, Any]:
            return loss_of(problem, params, before, batch, key)

        if not learn:
            return model, state, loss_at(params)[0]
        # the optimizer of this step: optax's keep their numbers in a closure, lrx's find them in the state
        tx = optax.with_extra_args_support(make_optimizer(rate, **hyper))
        state = resume(tx, params, state)
        (loss, after), grads = jax.value_and_grad(loss_at, has_aux=True)(params)
        # what a line search tries leaves no trace in the model
        extra = dict(value=loss, grad=grads, value_fn=lambda params: loss_at(params)[0])
        updates, state = tx.update(grads, state, params, **extra)
        return (apply_updates(params, updates), after), state, loss

    def step(carry: Any, xs: Any) -> Any:
        model, state = carry
        t, rate, batch = xs
        now = jax.vmap(lambda key: jax.random.fold_in(key, t))(keys)
        batch_axis = None
        if problem.sample is not None:
            batch, batch_axis = jax.vmap(problem.sample)(now), 0
        noise = jax.vmap(lambda key: jax.random.fold_in(key, 0))(now)
        mapped = _over_population(update, (0, 0, 0, 0, None, None), (None, None, 0, 0, batch_axis, 0))
        model, state, loss = mapped(rate, hyperparams, model, state, batch, noise)
        return (model, state), loss

    swap = functools.partial(jax.tree.map, lambda x: jnp.swapaxes(x, 0, 1))
    t = begin + jnp.arange(rates.shape[1], dtype=jnp.int32)
    carry, losses = jax.lax.scan(step, swap(carry), (t, rates.T, batches))
    return swap(carry), jnp.transpose(losses, (2, 1, 0))


@functools.partial(jax.jit, static_argnums=(0, 1))
def evaluate(problem: Problem, layout: Layout, models: Any) -> Any:
    """What the problem says of models [members, seeds, …]: name -> [members, seeds]."""

    def share(models: Any) -> Any:
        return jax.lax.map(jax.vmap(lambda model: scores_of(problem, *model)), models, batch_size=layout.lanes)

    return _divided(share, layout, True)(models)


@jax.jit
def take(tree: Any, order: jax.Array) -> Any:
    """The members of a population in another order."""
    return jax.tree.map(lambda x: x[order], tree)
