"""Donated parameters and state are updated in place, if a step takes them in the order in which it gives them back.

JAX gives the buffers of donated arguments to outputs of the same shape in the order of both. With `step(params,
state, grads)` that gives each array its own. With `step(grads, state, params)` the first moment's buffer is given to
the parameters and so on, and XLA must copy what it overwrites too early. Told by the compiled program, not by time.
"""

import functools
import re

import jax
import jax.numpy as jnp
import pytest
from flax.training.train_state import TrainState

import lrx

from .common import IMAGES, LABELS, optimizer
from .frameworks import Bare, bare_init, bare_logits, cross_entropy

OPTIMIZERS = {
    "adamw": optimizer(),
    "rmsprop": lrx.rmsprop(1e-3, momentum=0.9),  # centered, it reads the old mean twice, and XLA's CPU copies that
    "accumulate": lrx.accumulate(lrx.adam(1e-3), every=4),
    "partition": lrx.partition(
        {"body": lrx.adam(1e-3), "head": lrx.sgd(1e-2, momentum=0.9)}, lrx.by_path({"hidden": "body", "": "head"})
    ),
}
optimizers = pytest.mark.parametrize("tx", OPTIMIZERS.values(), ids=OPTIMIZERS)
MODEL = bare_init(jax.random.key(0))
PARAMS = {"hidden": {"w": MODEL["hidden"]["w"]}, "out": {"b": MODEL["out"]["b"]}}
"""A matrix and a vector, one for each group: XLA takes as long as there are leaves."""
AS_USERS_HAVE_IT = {"xla_cpu_use_fusion_emitters": True}
"""The graph and its buffers: the machine code that LLVM then makes of it, fast here, is not looked at."""


def params_first(tx):
    def step(params, state, grads):
        updates, state = tx.update(grads, state, params)
        return lrx.apply_updates(params, updates), state

    return step


def grads_first(tx):
    def step(grads, state, params):
        return params_first(tx)(params, state, grads)

    return step


def compiled(step, *arguments, donate):
    return jax.jit(step, donate_argnums=donate).lower(*arguments).compile(AS_USERS_HAVE_IT)


@functools.cache
def updated_in_place(tx):
    return compiled(params_first(tx), PARAMS, tx.init(PARAMS), PARAMS, donate=(0, 1))


def copied(program):
    """The shapes of the arrays that a program copies; scalars, such as a count that is used twice, do not matter."""
    return re.findall(r"= (\w+\[\d[\d,]*\])\S* copy\(", program.as_text())


def in_place(program):
    """Output -> the argument whose buffer it is written to."""
    header = program.as_text().splitlines()[0]
    return {int(out): int(argument) for out, argument in re.findall(r"\{(\d+)\}: \((\d+), \{\}", header)}


def nbytes(tree):
    return sum(x.nbytes for x in jax.tree.leaves(tree))


@optimizers
def test_params_state_grads_copies_nothing(tx):
    state, program = tx.init(PARAMS), updated_in_place(tx)
    assert copied(program) == []
    arrays = {i for i, x in enumerate(jax.tree.leaves((PARAMS, state))) if jnp.ndim(x)}
    assert all(out == argument for out, argument in in_place(program).items() if out in arrays)
    unread = 4 * len(lrx.learning_rates(state))  # the rate last applied is written and never read
    assert program.memory_analysis().alias_size_in_bytes >= nbytes((PARAMS, state)) - unread


@optimizers
def test_grads_state_params_copies(tx):
    program = compiled(grads_first(tx), PARAMS, tx.init(PARAMS), PARAMS, donate=(1, 2))
    assert copied(program)
    assert program.memory_analysis().temp_size_in_bytes > updated_in_place(tx).memory_analysis().temp_size_in_bytes


def test_a_whole_step_with_its_gradient_copies_nothing():
    tx = optimizer()

    def step(params, state, images, labels):
        grads = jax.grad(lambda p: cross_entropy(bare_logits(p, images), labels))(params)
        return params_first(tx)(params, state, grads)

    assert copied(compiled(step, MODEL, tx.init(MODEL), IMAGES, LABELS, donate=(0, 1))) == []


def test_a_donated_train_state_copies_nothing():
    state = TrainState.create(apply_fn=None, params=PARAMS, tx=optimizer())
    program = compiled(lambda state, grads: state.apply_gradients(grads=grads), state, PARAMS, donate=0)
    assert copied(program) == []


@pytest.mark.filterwarnings("error:Some donated buffers")
def test_what_is_donated_is_gone_and_edits_live_on():
    run = Bare(optimizer())
    params, state = run.params, run.opt_state
    run.edit(b1=0.5)
    run.step(IMAGES, LABELS)
    assert params["hidden"]["w"].is_deleted()
    assert state["scale_by_adam"].memory.mu["hidden"]["w"].is_deleted()
    assert lrx.hyperparams(run.opt_state)["scale_by_adam.b1"] == 0.5
    assert jnp.isfinite(run.step(IMAGES, LABELS))


def test_a_resumed_state_whose_clocks_are_new_can_be_donated():
    """Three counts come from one of the checkpoint's; one buffer for all could not be donated."""
    old = Bare(optimizer())
    old.step(IMAGES, LABELS)
    decays = {"b1": lrx.linear_schedule(0.85, 0.95, 10), "weight_decay": lrx.cosine_decay_schedule(0.1, 10)}
    new = Bare(lrx.chain(lrx.clip_by_global_norm(1.0), lrx.adamw(1e-3, **decays)))
    new.resume({"params": old.params, "opt_state": old.opt_state})
    new.step(IMAGES, LABELS)
    assert lrx.count(new.container) == 2
