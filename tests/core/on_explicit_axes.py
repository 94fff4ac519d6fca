"""Every optimizer on explicit mesh axes, in `shard_map`, and as a population: run by `test_eight_devices.py`.

On four of the eight devices, which are as many as two axes need.
"""

import contextlib
import functools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import lrx
from tests.operations import by_operations
from tests.optimizers.cases import CASES, VARIANTS
from tests.optimizers.wrappers import WRAPPERS

SPECS = {"w": P("x", "y"), "b": P(None)}
MEMBERS = {"w": np.linspace(0.5, 1.0, 24, dtype=np.float32).reshape(4, 3, 2), "b": np.full((4, 2), 0.5, np.float32)}


def RATE(count):
    """A schedule that takes no time to trace: those of lrx are in `tests/schedules/on_eight_devices.py`."""
    return 0.01 / (count + 1)


def loss(params):
    return sum(jnp.sum(p.astype(jnp.float32) ** 2) for p in jax.tree.leaves(params))


SIGNALS = {"value": 1.0, "value_fn": loss}
OPTIMIZERS = {case.name: (case.build(RATE), {k: SIGNALS[k] for k in case.needs}) for case in CASES + VARIANTS}
OPTIMIZERS |= {f"{name}_around": (wrap(lrx.adamw(RATE)), {}) for name, wrap in WRAPPERS.items()}
OPTIMIZERS["accumulate_dog"] = lrx.accumulate(lrx.sgd(lrx.dog()), 2), {}
OPTIMIZERS["apply_if_finite_prodigy"] = lrx.apply_if_finite(lrx.prodigy(RATE), 2), {}
NAMES = list(OPTIMIZERS)
PARTS = [NAMES[i::4] for i in range(4)]  # each of them is one program
RUN = NAMES[::7]
"""Those that are also compiled and run where JAX answers while it traces: some of each part."""
RANDOM = [name for name in NAMES if re.search("nois|dpsgd|sophia|stochastic", name)]
TRAINED = list(dict.fromkeys(NAMES[1::4] + RANDOM))
"""Those whose numbers are compared."""
parts = pytest.mark.parametrize("names", PARTS, ids=[f"part_{i}" for i in range(len(PARTS))])


def own(name, params):
    """The parameters of one optimizer: master weights are for those of few bits."""
    return {**params, "w": params["w"].astype(jnp.bfloat16)} if "master_weights" in name else params


def steps(name, params, state):
    """Three updates under scan."""
    tx, extra = OPTIMIZERS[name]

    def body(carry, _):
        params, state = carry
        grads = jax.tree.map(lambda p: p * 0.3, params)
        updates, state = tx.update(grads, state, params, **extra)
        return (lrx.apply_updates(params, updates), state), None

    return jax.lax.scan(body, (params, state), None, length=3)[0]


def from_start(name, params):
    params = own(name, params)
    return steps(name, params, OPTIMIZERS[name][0].init(params))


def mesh(axes, sizes, kind):
    devices = jax.devices()[: math.prod(sizes)]
    return jax.make_mesh(sizes, axes, axis_types=(kind,) * len(axes), devices=devices)


@parts
def test_jax_23693_explicit_axes_keep_every_type_from_init_on(names):
    """Eager `init`, as its users write it; `scan` demands constant types. Shardings are types: nothing is compiled."""
    m = mesh(("x", "y"), (2, 2), AxisType.Explicit)
    with jax.set_mesh(m):
        host = {"w": np.full((8, 4), 0.5, np.float32), "b": np.full(4, 0.5, np.float32)}
        params = jax.tree.map(lambda a, spec: jax.device_put(a, NamedSharding(m, spec)), host, SPECS)
        for name in names:
            start = own(name, params), OPTIMIZERS[name][0].init(own(name, params))
            traced = jax.jit(functools.partial(steps, name)).trace(*start)
            after = [traced.out_info]
            assert after[0][0]["w"].sharding.spec == P("x", "y"), name
            if name in RUN:
                after.append(traced.lower().compile()(*start))
                assert all(np.isfinite(np.asarray(x, np.float32)).all() for x in jax.tree.leaves(after[1][0])), name
            for types in after:
                assert jax.tree.map(jax.typeof, types) == jax.tree.map(jax.typeof, start), name


@pytest.mark.parametrize("name", ["accumulate_around", "apply_if_finite_around", "nested_around"])
@pytest.mark.parametrize("context", [True, False], ids=["set_mesh", "without"])
def test_eager_updates_on_explicit_axes_stay_where_they_are(name, context):
    """Also the updates of zero, where a step is skipped."""
    m = mesh(("x", "y"), (2, 2), AxisType.Explicit)
    tx = OPTIMIZERS[name][0]
    with jax.set_mesh(m) if context else contextlib.nullcontext():
        params = {"w": jax.device_put(np.ones((8, 4), np.float32), NamedSharding(m, P("x", "y")))}
        params["b"] = jax.device_put(np.ones(4, np.float32), NamedSharding(m, P(None)))
        state = tx.init(params)
        for grads in (params, jax.tree.map(lambda p: p * jnp.nan, params)):
            updates, state = tx.update(grads, state, params)
            assert updates["w"].sharding.spec == P("x", "y")


@parts
def test_a_population_is_sharded_over_an_explicit_axis(names):
    """States that were made elsewhere, one update for all members."""
    pop = mesh(("pop",), (4,), AxisType.Explicit)
    over = NamedSharding(pop, P("pop"))

    def spread(tree):  # constants come out of vmap unsharded
        return jax.tree.map(lambda x: jax.sharding.reshard(x, P("pop")), tree)

    for name in names:
        (tx, extra), params = OPTIMIZERS[name], own(name, MEMBERS)
        init, update = jax.vmap(tx.init), jax.vmap(functools.partial(tx.update, **extra))
        elsewhere = by_operations(init)(params) if name in RUN else None
        with jax.set_mesh(pop):
            members = jax.device_put(params, over)
            before = jax.eval_shape(lambda p, init=init: spread(init(p)), members)
            traced = jax.jit(update).trace(members, before, members)
            after = [traced.out_info]
            if elsewhere is not None:
                after.append(traced.lower().compile()(members, jax.device_put(elsewhere, over), members))
        for updates, state in after:
            assert jax.tree.map(jnp.shape, state) == jax.tree.map(jnp.shape, before), name
            for path, x in jax.tree.leaves_with_path((updates, state)):
                assert x.sharding.spec[0] == "pop", (name, jax.tree_util.keystr(path))


def test_jax_23693_each_device_trains_its_own_in_shard_map():
    """`check_vma` asks which values differ from device to device, while it traces."""
    m = mesh(("x", "y"), (2, 2), AxisType.Auto)

    def device(members, names):
        alone = jax.tree.map(lambda x: x[0], members)
        return {name: jax.tree.map(lambda x: x[None], from_start(name, alone)[0]) for name in names}

    def train(names):
        spec = P(("x", "y"))
        body = functools.partial(device, names=names)
        return jax.shard_map(body, mesh=m, in_specs=spec, out_specs=spec, check_vma=True)

    after = jax.eval_shape(train([name for name in NAMES if name not in TRAINED]), MEMBERS)
    for names in (TRAINED[i::9] for i in range(9)):
        after |= jax.jit(train(names))(MEMBERS)
    for name in TRAINED:
        # the same numbers as under vmap on one device
        expected = by_operations(jax.vmap(lambda p, name=name: from_start(name, p)[0]))(MEMBERS)
        for x, y in zip(*map(jax.tree.leaves, (after[name], expected)), strict=True):
            x, y = np.asarray(x, np.float32), np.asarray(y, np.float32)
            # the random numbers of a whole population under vmap are those of one member
            np.testing.assert_allclose(x, y, rtol=1e-5, err_msg=name)
    for name in NAMES:
        assert jax.tree.map(jnp.shape, after[name]) == jax.tree.map(jnp.shape, MEMBERS), name
