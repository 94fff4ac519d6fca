"""Populations of schedules on a mesh of eight devices. Not collected by itself: `test_eight_devices.py` runs it.

JAX decides while it traces whether arrays that are spread over an explicit axis fit together: most of this is traced,
and only what has values to compare is compiled, many schedules in one program.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import lrx
from tests.operations import by_operations
from tests.schedules.cases import CASES, VARIANTS
from tests.schedules.combined import CASES as COMBINED

MEMBERS = 8
COUNTS = np.array([0, 1, 3, 9, 10, 30, 77, 1000], np.int32)
LONG = [lrx.join_schedules([lrx.linear_schedule(0.1, 0.2, n) for n in range(1, 12)], range(2, 22, 2))]
SCHEDULES = [case.build() for case in CASES + VARIANTS] + [case.schedule for case in COMBINED] + LONG


def types(schedule):
    """What a trace knows of a schedule whose numbers are all arguments."""
    leaves, treedef = jax.tree.flatten(schedule)
    return treedef, *((np.shape(x), jnp.result_type(x)) for x in leaves)


TYPES = list({types(s): s for s in reversed(SCHEDULES)}.values())[::-1]
"""One of each: schedules that differ in their numbers alone are traced alike."""
OF_OTHERS = {types(case.schedule) for case in COMBINED}
of_every_type = pytest.mark.parametrize("schedule", TYPES, ids=[f"{i}_{type(s).__name__}" for i, s in enumerate(TYPES)])


@pytest.fixture(scope="module")
def mesh():
    mesh = jax.make_mesh((MEMBERS,), ("pop",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh):
        yield mesh


def population(schedule):
    """Eight of a schedule, each with slightly other real numbers, on the host."""

    def members(x):
        x = np.asarray(x)
        rows = np.broadcast_to(x, (MEMBERS, *x.shape))
        grows = 1 + 0.01 * np.arange(MEMBERS).reshape(-1, *[1] * x.ndim)
        return (rows * grows).astype(np.float32) if x.dtype.kind == "f" else rows.astype(np.int32)

    return jax.tree.map(members, schedule)


def spread(tree, mesh):
    return jax.tree.map(lambda x: jax.device_put(x, NamedSharding(mesh, P("pop"))), tree)


def rate(schedule, count):
    return schedule(count)


def rate_and_slopes(schedule, count):
    leaves, treedef = jax.tree.flatten(schedule)
    floats = [x for x in leaves if jnp.result_type(x).kind == "f"]

    def value(floats):
        rest = iter(floats)
        return treedef.unflatten([next(rest) if jnp.result_type(x).kind == "f" else x for x in leaves])(count)

    return jax.value_and_grad(value)(floats)


def questions(schedule):
    """Which leaves of the schedule, and whether the count, differ between the members, and what is traced then.

    A schedule that is made of others is asked less: every operation that is left out there, with operands spread in the
    same way, is traced in the others.
    """
    leaves = jax.tree.leaves(schedule)
    every, filled = tuple(range(len(leaves))), [i for i, x in enumerate(leaves) if np.size(x)]
    parts = {(i,) for i in (filled[0], filled[-1])} - {every}
    yield from ((every, True, rate), (every, False, rate), (every, True, rate_and_slopes))
    yield from ((part, False, rate_and_slopes) for part in parts)
    if types(schedule) not in OF_OTHERS:
        yield from ((part, True, rate_and_slopes) for part in parts | {()})


@of_every_type
def test_a_population_is_traced_whatever_differs_between_its_members(schedule, mesh):
    members, counts = spread(population(schedule), mesh), spread(COUNTS, mesh)
    all_leaves, treedef = jax.tree.flatten(members)
    alone = jax.tree.map(lambda x: jnp.asarray(x, jnp.result_type(x)), jax.tree.leaves(schedule))
    for places, by_count, function in questions(schedule):
        leaves = [x if i in places else alone[i] for i, x in enumerate(all_leaves)]
        axes = treedef.unflatten([0 if i in places else None for i in range(len(leaves))])
        mapped = jax.vmap(function, (axes, 0 if by_count else None))
        out = jax.eval_shape(mapped, treedef.unflatten(leaves), counts if by_count else jnp.int32(7))
        for x in (x for x in jax.tree.leaves(out) if x.size):
            assert x.sharding.spec == P("pop", *[None] * (x.ndim - 1))


def test_values_of_a_population_are_those_of_its_members(mesh):
    groups = [population(s) for s in [*SCHEDULES[::12], *LONG]]

    def values(groups, counts):
        return [jax.vmap(rate)(group, counts) for group in groups]

    together = jax.device_get(jax.jit(values)(spread(groups, mesh), spread(COUNTS, mesh)))
    with jax.set_mesh(jax.make_mesh((1,), ("pop",), axis_types=(AxisType.Auto,), devices=jax.devices()[:1])):
        alone = by_operations(values)(groups, COUNTS)
    for rates, expected in zip(together, alone, strict=True):
        np.testing.assert_allclose(rates, expected, rtol=3e-6, atol=3e-7)


def test_update_of_a_population_of_optimizers(mesh):
    some = SCHEDULES[::6]
    states = jax.eval_shape(
        lambda groups: [jax.vmap(lambda s: lrx.sgd(s).init(jnp.ones(1)))(group) for group in groups],
        [population(s) for s in some],
    )
    over = NamedSharding(mesh, P("pop"))
    states = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=over), states)
    grads = spread(np.ones((MEMBERS, 1), np.float32), mesh)
    txs = [lrx.sgd(s) for s in some]
    out = jax.eval_shape(lambda s: [jax.vmap(tx.update)(grads, x)[1] for tx, x in zip(txs, s, strict=True)], states)
    for state in out:
        assert lrx.learning_rate(state).sharding.spec == P("pop")


def test_shard_map_of_a_population(mesh):
    def local(groups, counts):
        return [g(counts)[None] for g in jax.tree.map(lambda x: x[0], groups)]

    def run(groups, counts):
        mapped = jax.shard_map(
            local, mesh=mesh, in_specs=P("pop"), out_specs=P("pop"), check_vma=True, axis_names={"pop"}
        )
        return jax.eval_shape(mapped, groups, counts)

    groups = spread([population(s) for s in SCHEDULES], mesh)
    for rates in run(groups, spread(COUNTS, mesh)):
        assert rates.shape == (MEMBERS, 1)
