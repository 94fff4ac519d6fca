"""Faults that users of other libraries met where an optimizer is in Flax, or inside other transformations."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.training.train_state import TrainState

import lrx
from tests.common import GRADS, PARAMS, avals, one_step
from tests.operations import by_operations
from tests.optimizers.wrappers import WRAPPERS

FALLING = lrx.linear_schedule(1.0, 0.0, 10)


def optax_plateau():
    """A link that cannot do without `value`."""
    return optax.contrib.reduce_on_plateau(factor=0.5, patience=1)


# ---------------------------------------------------------------- inside Flax


def test_flax_train_state_passes_no_extra_arguments_so_none_may_be_needed():
    """`apply_gradients` has no way to hand `value` on; three lines do, and every optimizer of lrx works without it."""
    create = lambda tx: TrainState.create(apply_fn=None, params=PARAMS, tx=tx)  # noqa: E731
    with pytest.raises(TypeError, match="value"):
        create(optax.chain(optax.sgd(1.0), optax_plateau())).apply_gradients(grads=GRADS, value=1.0)
    assert create(lrx.adam(FALLING)).apply_gradients(grads=GRADS).step == 1

    @jax.jit
    def step(state, value):
        updates, opt_state = state.tx.update(GRADS, state.opt_state, state.params, value=value)
        params = lrx.apply_updates(state.params, updates)
        return state.replace(step=state.step + 1, params=params, opt_state=opt_state)

    state = create(lrx.chain(lrx.sgd(FALLING), optax_plateau()))
    for _ in range(4):
        state = step(state, 1.0)
    assert lrx.learning_rate(state.opt_state) == FALLING(3)
    assert state.opt_state["reduce_on_plateau"].scale < 1


@pytest.mark.parametrize(
    "tx",
    [lrx.adafactor(0.01, min_dim_size_to_factor=2), lrx.sm3(0.01), lrx.novograd(0.01), lrx.adam_mini(0.01)],
    ids=["adafactor", "sm3", "novograd", "adam_mini"],
)
def test_flax_5172_memory_of_other_shapes_than_the_parameters_in_an_nnx_optimizer(tx):
    """The names of its axes are the parameters', unless `optimizer_sharding` gives others."""
    traced, optimizer = three_steps_of_nnx(tx)
    assert traced == 1
    assert lrx.count(optimizer.opt_state) == 3
    assert lrx.learning_rate(optimizer.opt_state) == np.float32(0.01)


def test_flax_5172_a_list_of_arrays_for_each_parameter_is_traced_twice():
    """nnx gives it back as a dict."""
    assert three_steps_of_nnx(optax.sm3(0.01))[0] == 2


def three_steps_of_nnx(tx):
    """How often the step was traced, and the optimizer after it."""
    traced = []

    @nnx.jit
    def step(model, optimizer):
        traced.append(1)
        optimizer.update(model, nnx.grad(lambda m: (m(jnp.ones((2, 4))) ** 2).sum())(model))

    with jax.set_mesh(jax.make_mesh((1,), ("model",))):
        init = nnx.with_partitioning(nnx.initializers.ones, (None, "model"), optimizer_sharding=())
        model = nnx.Linear(4, 6, kernel_init=init, rngs=nnx.Rngs(0))
        optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
        for _ in range(3):
            step(model, optimizer)
    return len(traced), optimizer


# ---------------------------------------------------------------- through wrappers


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS.keys())
def test_numpyro_1955_value_reaches_the_innermost_link(wrap):
    seen = []

    def update(updates, state, params=None, *, value, **extra):
        jax.debug.callback(lambda x: seen.append(float(x)), value)
        return updates, state

    tx = wrap(lrx.chain(lrx.sgd(0.1), optax.GradientTransformationExtraArgs(lambda params: (), update)))
    step = by_operations(lambda state, value: tx.update(GRADS, state, PARAMS, value=value)[1])
    state = tx.init(PARAMS)
    for _ in range(4):
        state = step(state, jnp.float32(7.0))
    jax.effects_barrier()
    assert set(seen) == {7.0}


def test_optax_320_an_accumulated_step_takes_less_memory_than_multi_steps():
    """Also optax#528, PR#596."""
    params = {"w": jnp.ones((100, 100))}

    def size(tx):
        state = tx.init(params)
        step = jax.jit(lambda p, s, g: one_step(tx, p, s, g), donate_argnums=(0, 1))
        memory = step.lower(params, state, params).compile().memory_analysis()
        total = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
        return (total - memory.alias_size_in_bytes) / params["w"].nbytes

    theirs = size(optax.MultiSteps(optax.adam(1e-3), 4).gradient_transformation())
    ours = size(lrx.accumulate(lrx.adam(1e-3), 4))
    assert ours < theirs - 0.9
    assert size(lrx.accumulate(lrx.adam(1e-3), 4, accumulator_dtype="bfloat16")) < ours - 0.4


def test_optax_1498_the_norm_of_many_leaves_costs_no_more_equations_than_it_must():
    """Three for each leaf (a square, a sum, an addition), where optax has six; packed, none."""

    def equations(tx, leaves):
        tree = {str(i): jnp.ones(3) for i in range(leaves)}
        state = tx.init(tree)
        return jax.make_jaxpr(lambda g: tx.update(g, state)[0])(tree).eqns

    def growth(tx):
        return (len(equations(tx, 64)) - len(equations(tx, 32))) / 32

    assert growth(lrx.clip_by_global_norm(1.0)) <= 5  # and the product with the factor, and its choice
    assert growth(optax.clip_by_global_norm(1.0)) > 8
    sums = [e for e in equations(lrx.pack(lrx.clip_by_global_norm(1.0)), 64) if e.primitive.name == "reduce_sum"]
    assert len(sums) == 1


def test_peers_3_5_the_inner_optimizer_runs_once_a_window_and_sees_the_value():
    """MultiSteps runs it on each micro-step and selects; as a link of a chain it drops the value."""
    runs = []

    def update(updates, state, params=None):
        jax.debug.callback(lambda: runs.append(1))
        return updates, state

    def runs_of(wrap):
        tx = wrap(optax.GradientTransformation(lambda params: (), update), 3)
        step, state = jax.jit(tx.update), tx.init(PARAMS)
        for _ in range(6):
            _, state = step(GRADS, state, PARAMS)
        jax.effects_barrier()
        return len(runs)

    multi_steps = lambda tx, every: optax.MultiSteps(tx, every).gradient_transformation()  # noqa: E731
    assert runs_of(multi_steps) == 6
    assert runs_of(lrx.accumulate) - 6 == 2
    inner = optax.chain(optax.sgd(1.0), optax_plateau())
    theirs, ours = (optax.chain(wrap(inner, 2)) for wrap in (multi_steps, lrx.accumulate))
    with pytest.raises(TypeError, match="value"):
        theirs.update(GRADS, theirs.init(PARAMS), PARAMS, value=1.0)
    assert avals(ours.update(GRADS, ours.init(PARAMS), PARAMS, value=1.0)[0]) == avals(jax.tree.map(jnp.asarray, GRADS))
