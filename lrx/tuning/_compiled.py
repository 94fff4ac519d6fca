"""The compiled program that trains a population of members from several seeds.

A run of known length needs of its schedule no more than the list of its values. So a member is a row of learning
rates, one for each update, and one program serves every schedule and every number. Members of one seed start from the
same parameters and see the same batches: they differ in nothing but what is compared. A member that diverges goes on
by itself, as inf or nan.

The number of updates in a call is an argument of the program, not part of its shape: a run of any length, in chunks of
any length, is one compilation.
"""

import dataclasses
import functools
from collections.abc import Callable
from types import MethodType
from typing import Any, NamedTuple
from weakref import WeakMethod, ref

import jax
import jax.numpy as jnp
import optax
from jax.sharding import PartitionSpec as P

from .. import _check as check
from ..optimizers.apply_updates import apply_updates
from ..problems._problem import Problem, loss_of, scores_of, start_of
from ._layout import Layout


class Setup(NamedTuple):
    """What a program is compiled for, and no more: `only` leaves the rest of a problem out."""

    problem: Problem
    make_optimizer: Callable[..., Any]
    """`make_optimizer(learning_rate, **hyperparams)`."""
    layout: Layout


def only(problem: Problem, evaluate: bool = False) -> Problem:
    """A problem with what training reads (with `evaluate`: what scoring reads), equal for all that share it.

    So programs are shared by problems of other names, data on the host or scores, and no program keeps that data alive.
    """
    return dataclasses.replace(
        problem,
        batches=None if problem.batches is None else (),
        evaluate=problem.evaluate if evaluate else None,
        name="",
    )


class Chunk(NamedTuple):
    """What one call of the program does."""

    rates: Any
    """The learning rate of each update, [members, length]."""
    begin: Any
    """Updates done before, int32 []."""
    updates: Any
    """How many of the `length` updates to make, int32 []."""
    turns: Any
    """How many groups of `layout.lanes` members each device trains, int32 []. Later members stay as they are."""
    batches: Any
    """From the host, [length, …], or None."""


def _divided(f: Callable[..., Any], layout: Layout, *specs: Any) -> Callable[..., Any]:
    """`f` on each device with its own members; `specs` are True for arguments that have the members in front."""
    if layout.mesh is None:
        return f
    in_specs = jax.tree.map(lambda by_member: P(layout.axis) if by_member else P(), specs)
    # no member depends on another; some state per member may be constant, which the check would refuse
    return jax.shard_map(f, mesh=layout.mesh, in_specs=in_specs, out_specs=P(layout.axis), check_vma=False)


def _models(setup: Setup, rates: Any, keys: jax.Array) -> Any:
    """Models [members, seeds, …], equal for all members, from the rates [members], which only count them, and the keys.

    A model is the pair of its parameters and the state that its loss keeps beside them.
    """

    def share(rates: jax.Array, keys: jax.Array) -> Any:
        return jax.vmap(lambda _: jax.vmap(functools.partial(start_of, setup.problem))(keys))(rates)

    return _divided(share, setup.layout, True, False)(rates, keys)


def _states(setup: Setup, rates: Any, hyperparams: Any, models: Any) -> Any:
    """The optimizer states [members, seeds, …] of models that are equal for all members, from the rates [members].

    What depends on the parameters alone is computed once for all members.
    """

    def one(rate: jax.Array, hyper: Any, params: Any) -> Any:
        return check.in_user_code(setup.make_optimizer, rate, **hyper).init(params)

    def share(rates: jax.Array, hyperparams: Any, params: Any) -> Any:
        params = jax.tree.map(lambda x: x[0], params)
        return jax.vmap(jax.vmap(one, (None, None, 0)), (0, 0, None))(rates, hyperparams, params)

    return _divided(share, setup.layout, True, True, True)(rates, hyperparams, models[0])


def _advance(
    setup: Setup, hyperparams: Any, carry: Any, chunk: Chunk, keys: jax.Array, learn: bool = True
) -> tuple[Any, jax.Array]:
    """Some updates of some members.

    Args:
      setup: what is trained.
      hyperparams: further numbers, name -> [members].
      carry: models and optimizer states [members, seeds, …]; donated.
      chunk: which updates.
      keys: of each seed's batches, [seeds].
      learn: whether to update at all, or only to measure the losses.

    Returns:
      The carry, and the losses before each update, float32 [members, seeds, length]; 0 where none was made.
    """
    lanes = setup.layout.lanes

    def share(hyperparams: Any, carry: Any, chunk: Chunk, keys: Any) -> Any:
        train = functools.partial(_train, setup, learn, keys)
        if len(chunk.rates) == lanes:
            return train(hyperparams, carry, chunk)

        def turn(i: jax.Array, done: Any) -> Any:
            first = i * lanes
            some = functools.partial(jax.lax.dynamic_slice_in_dim, start_index=first, slice_size=lanes)
            hyper, carry, rates = jax.tree.map(some, (hyperparams, done[0], chunk.rates))
            new = train(hyper, carry, chunk._replace(rates=rates))
            return jax.tree.map(lambda x, y: jax.lax.dynamic_update_slice_in_dim(x, y, first, 0), done, new)

        losses = jnp.zeros((len(chunk.rates), len(keys), chunk.rates.shape[1]), jnp.float32)
        return jax.lax.fori_loop(0, chunk.turns, turn, (carry, losses))

    chunk_specs = Chunk(rates=True, begin=False, updates=False, turns=False, batches=False)
    return _divided(share, setup.layout, True, True, chunk_specs, False)(hyperparams, carry, chunk, keys)


def _train(
    setup: Setup, learn: bool, keys: jax.Array, hyperparams: Any, carry: Any, chunk: Chunk
) -> tuple[Any, jax.Array]:
    """Some updates of some members, all at once."""
    problem = setup.problem

    def update(rate: jax.Array, hyper: Any, model: Any, state: Any, batch: Any, key: jax.Array) -> Any:
        params, before = model

        def loss_at(params: Any) -> tuple[jax.Array, Any]:
            return loss_of(problem, params, before, batch, key)

        if not learn:
            return model, state, loss_at(params)[0]
        (loss, after), grads = jax.value_and_grad(loss_at, has_aux=True)(params)
        # what a line search tries leaves no trace in the model
        extra = dict(value=loss, grad=grads, value_fn=lambda params: loss_at(params)[0])
        tx = optax.with_extra_args_support(check.in_user_code(setup.make_optimizer, rate, **hyper))
        updates, state = tx.update(grads, state, params, **extra)
        return (apply_updates(params, updates), after), state, loss

    # what depends on the seed alone is computed once for all members
    batch_axis = None if problem.sample is None else 0
    by_seed = jax.vmap(update, in_axes=(None, None, 0, 0, batch_axis, 0))
    population = jax.vmap(by_seed, in_axes=(0, 0, 0, 0, None, None))

    def step(i: jax.Array, done: Any) -> Any:
        (model, state), losses = done
        rate, batch = chunk.rates[:, i], jax.tree.map(lambda x: x[i], chunk.batches)
        now = jax.vmap(lambda key: jax.random.fold_in(key, chunk.begin + i))(keys)
        if problem.sample is not None:
            batch = jax.vmap(problem.sample)(now)
        noise = jax.vmap(lambda key: jax.random.fold_in(key, 0))(now)
        model, state, loss = population(rate, hyperparams, model, state, batch, noise)
        return (model, state), losses.at[i].set(loss.astype(losses.dtype))

    members, length = chunk.rates.shape
    losses = jnp.zeros((length, members, len(keys)), jnp.float32)
    carry, losses = jax.lax.fori_loop(0, chunk.updates, step, (carry, losses))
    return carry, jnp.moveaxis(losses, 0, -1)


def _evaluate(setup: Setup, models: Any) -> Any:
    """The scores that the problem gives to models [members, seeds, …]: name -> [members, seeds]."""
    scored = jax.vmap(lambda model: scores_of(setup.problem, *model))

    def share(models: Any) -> Any:
        return jax.lax.map(scored, models, batch_size=setup.layout.lanes)

    return _divided(share, setup.layout, True)(models)


class Programs:
    """The jitted functions of one setup. Constants are in what they compile: it goes when the user drops a function.

    `programs_of` gives them, the same for equal setups.
    """

    def __init__(self, weak: Callable[[], Setup]):
        def models(*args: Any) -> Any:
            return _models(weak(), *args)

        def states(*args: Any) -> Any:
            return _states(weak(), *args)

        def start(rates: Any, hyperparams: Any, keys: jax.Array) -> Any:
            model = models(rates, keys)
            return model, states(rates, hyperparams, model)

        def advance(*args: Any, learn: bool = True) -> tuple[Any, jax.Array]:
            return _advance(weak(), *args, learn=learn)

        def evaluate(models: Any) -> Any:
            return _evaluate(weak(), models)

        self.models, self.states, self.together = jax.jit(models), jax.jit(states), jax.jit(start)
        self.one = weak().layout.size == 1
        self.evaluate = jax.jit(evaluate)
        self.advance = jax.jit(advance, static_argnames=("learn",), donate_argnums=(1,))

    def start(self, rates: Any, hyperparams: Any, keys: jax.Array) -> Any:
        """Models and optimizer states [members, seeds, …], from the rates [members] and the keys [seeds].

        Where there is one member, which may fill the memory, one after the other: what the random numbers of its model
        needed is freed before its optimizer's state comes.
        """
        if not self.one:
            return self.together(rates, hyperparams, keys)
        model = jax.block_until_ready(self.models(rates, keys))
        return model, self.states(rates, hyperparams, model)


_programs: dict[Any, Programs] = {}


def programs_of(setup: Setup) -> Programs:
    """The programs of a setup, as long as its functions live: none of them is kept alive by its programs."""
    functions = [getattr(setup.problem, name) for name in FUNCTIONS]
    functions.append(setup.make_optimizer)
    key = (*map(_identity, functions), setup.problem.batches is None, setup.layout)
    if key not in _programs:

        def forget(_: Any, programs: dict[Any, Programs] = _programs) -> None:
            programs.pop(key, None)

        weak, layout, batches = [_weak(f, forget) for f in functions], setup.layout, setup.problem.batches

        def again() -> Setup:
            *of_problem, make_optimizer = (ref() for ref in weak)
            named = dict(zip(FUNCTIONS, of_problem, strict=True))
            return Setup(Problem(**named, batches=batches, name=""), make_optimizer, layout)  # type: ignore[arg-type]  # alive: the caller holds them

        _programs[key] = Programs(again)
    return _programs[key]


FUNCTIONS = ("init", "loss", "sample", "evaluate", "loss_with_state")
"""Fields of a problem that programs are traced from."""


def _identity(function: Any) -> tuple[int, ...]:
    if isinstance(function, MethodType):  # made anew each time that it is looked up
        return id(function.__self__), id(function.__func__)
    return (id(function),)


def _weak(function: Any, forget: Callable[[Any], None]) -> Callable[[], Any]:
    """A weak reference, or a strong one to what allows none."""
    try:
        return WeakMethod(function, forget) if isinstance(function, MethodType) else ref(function, forget)
    except TypeError:
        return lambda: function


@jax.jit
def take(tree: Any, order: jax.Array) -> Any:
    """The members of a population in another order."""
    return jax.tree.map(lambda x: x[order], tree)
