"""Read and edit the state of any optimizer: lrx's own, or optax's and a framework's with lrx inside.

Every rule keeps its numbers in a `State`, inside a chain, a mask, a partition, an accumulation or a `TrainState`. These
functions find them there and name them by dotted path, such as `scale_by_adam.b1`.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ._boxes import boxed_like, is_boxed, map_with_names, value_of
from ._factory_checks import verify
from ._numbers import canonical, is_number, is_tracer
from ._pytree import key_name, same_keys, to_dict
from ._rule import ScheduledState, completed
from ._state_paths import RATE_KEYS, Slot, dotted, multiplied, outermost, rate_of, rates_in, rules


def learning_rates(opt_state: Any) -> dict[str, jax.Array]:
    """Every learning rate in a state, by dotted path.

    Args:
      opt_state: the state of any optimizer, or anything that contains one, such as a `TrainState`.

    Returns:
      Path -> rate applied last, float32 []. Before the first update it is the rate that the first update will apply,
      or, where that depends on the loss or the gradient, the base rate. A controller with a rate for each leaf has one
      entry for each, whose path ends in the leaf's. What multiplies a rate has an entry of its own: the schedule of
      `scale_by_schedule` without its sign, the factor of a line search and of `reduce_on_plateau`. The number of
      `scale` has one where there is nothing else.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> print(lrx.learning_rates(lrx.adam(0.5).init(jnp.zeros(3))))
      {'scale_by_learning_rate.learning_rate': Array(0.5, dtype=float32)}
    """
    found, constants = rates_in(opt_state)
    return {rate.name: rate.value if found else jnp.abs(rate.value) for rate in found or constants}


def learning_rate(opt_state: Any) -> jax.Array:
    """The learning rate that was applied last; before the first update, the one that the first will apply.

    It is what multiplies the direction of the optimizer, without its sign. In a chain it is the product of the learning
    rate, of schedules in `scale_by_schedule`, of negative numbers in `scale` (positive ones may undo the scaling of a
    loss), and of the factor of a line search or of `reduce_on_plateau`: `learning_rates` lists them.

    Args:
      opt_state: the state of any optimizer, or anything that contains one.

    Returns:
      The rate, float32 [] (with a leading axis for a batch of states made under `vmap`).

    Raises:
      ValueError: if the state holds no learning rate, or several that do not multiply each other.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.sgd(lrx.linear_schedule(1.0, 0.0, transition_steps=4))
      >>> params = jnp.zeros(3)
      >>> state = tx.init(params)
      >>> for _ in range(2):
      ...   _, state = tx.update(params, state)
      >>> print(lrx.learning_rate(state))  # the second update applied schedule(1)
      0.75
      >>> tx = lrx.chain(lrx.scale_by_adam(), lrx.scale_by_schedule(lrx.constant_schedule(0.5)), lrx.scale(-1.0))
      >>> print(lrx.learning_rate(tx.init(params)))
      0.5
    """
    found, constants = rates_in(opt_state)
    products = multiplied(found, constants) if found else [jnp.abs(rate.value) for rate in constants]
    if len(products) == 1:
        return products[0]
    names = ", ".join(rate.name for rate in found or constants)
    if products:
        raise ValueError(f"learning_rate(opt_state) holds {len(products)} rates: {names}. Use learning_rates.")
    raise ValueError(
        "learning_rate(opt_state) found none. It reads what lrx.scale_by_learning_rate (and every optimizer that "
        "ends in it, such as lrx.adam) keeps in its state; in an optax chain, use that in place of optax's."
    )


def count(opt_state: Any) -> jax.Array:
    """The number of updates completed.

    Args:
      opt_state: the state of any optimizer, or anything that contains one.

    Returns:
      The count, int32 [] (with a leading axis for a batch of states made under `vmap`).

    Raises:
      ValueError: if no rule in the state counts, or if its learning rates have different counts.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> tx = lrx.sgd(0.1)
      >>> _, state = tx.update(jnp.ones(3), tx.init(jnp.ones(3)))
      >>> print(lrx.count(state))
      1
    """
    counts, slower, rates = {}, [], []
    for _, path, state in outermost(rules(opt_state)):
        if "mini_step" in getattr(state.memory, "_fields", ()):
            slower.append(path)
        if rate_of(state) is not None:
            rates.append(path)
        n = completed(state.memory)
        if n is None and isinstance(state, ScheduledState):
            n = value_of(state.count)
        if n is not None:
            counts[path] = n
    if not counts:
        raise ValueError("count(opt_state) found no count: no rule of lrx in this state counts its updates.")
    # the counts of learning rates decide; a moment may have been reset during training
    rated = {path: n for path, n in counts.items() if path in rates}
    # rules outside an accumulation count micro-steps, rules inside count updates
    inside = {path: n for path, n in counts.items() if any(path[: len(s)] == s for s in slower)}
    counts = rated if inside.keys() & rated.keys() else inside or rated or counts
    values = sorted(
        counts.values(), key=np.ndim
    )  # one group's optimizer may be batched: then the others' count is given
    if not any(map(is_tracer, values)) and any(np.any(np.asarray(v) != np.asarray(values[0])) for v in values):
        listed = ", ".join(f"{dotted((*path, 'count'))}={v}" for path, v in counts.items())
        raise ValueError(f"count(opt_state) found counts that differ: {listed}.")
    return values[0]


def hyperparams(opt_state: Any) -> dict[str, jax.Array]:
    """Every hyperparameter in a state, by dotted path.

    Args:
      opt_state: the state of any optimizer, or anything that contains one.

    Returns:
      Path -> number, float32 or int32.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> schedule = lrx.linear_schedule(1.0, 0.0, transition_steps=4)
      >>> for path, number in lrx.hyperparams(lrx.sgd(schedule, momentum=0.75).init(jnp.zeros(3))).items():
      ...   print(path, number)
      momentum.decay 0.75
      scale_by_learning_rate.learning_rate.end_value 0.0
      scale_by_learning_rate.learning_rate.init_value 1.0
      scale_by_learning_rate.learning_rate.transition_begin 0
      scale_by_learning_rate.learning_rate.transition_steps 4
    """
    return {slot.name: value_of(slot.value) for slot in _slots(opt_state) if not slot.is_group}


def with_hyperparams(opt_state: Any, **values: Any) -> Any:
    """A state with some hyperparameters replaced. Nothing is traced or compiled again.

    The new number lasts through steps, checkpoints and restarts, as long as the code stays the same. Once the rule is
    built with another number, that one counts, and all edits of this rule are lost. Under a schedule or a controller,
    `optax.tree_utils.tree_set(state, learning_rate=...)` has no effect: it changes the record of the rate applied last,
    which the next update overwrites.

    Args:
      opt_state: the state of any optimizer, or anything that contains one.
      **values: name -> number. A name that occurs once is enough (`b1`); else its dotted path, given as
        `**{"scale_by_adam.b1": 0.8}`. The numbers of a schedule are given as a dict, such as
        `learning_rate={"peak_value": 1e-3}`, or by a schedule of the same class and options (a state holds only the
        numbers and their names, so `staircase=True` cannot be told from False). A number may be traced, and may have
        the leading axes of a batched state.

    Returns:
      The new state; dtypes, shapes and shardings are the old ones. `learning_rate` shows the effect of a schedule's
      new numbers after the next update, since the state does not hold the schedule's code.

    Raises:
      ValueError: if the name is unknown or ambiguous, if a number is given for a schedule, if it does not fit, or if
        the factory of the rule would refuse it.
      TypeError: if the value is not a number.

    Examples:
      >>> import jax.numpy as jnp, lrx
      >>> state = lrx.adam(1e-3).init(jnp.zeros(3))
      >>> state = lrx.with_hyperparams(state, learning_rate=0.25, b1=0.5)
      >>> print(lrx.learning_rate(state), lrx.hyperparams(state)["scale_by_adam.b1"])
      0.25 0.5
    """
    edits: dict[tuple[Any, ...], Any] = {}
    slots = list(_slots(opt_state))
    for name, value in values.items():
        _collect(edits, slots, name, value)

    def edit(path: Any, old: Any) -> Any:
        key = tuple(map(key_name, path))
        return replaced(edits[key][0], old, edits[key][1]) if key in edits else old

    new = map_with_names(edit, opt_state)
    for place, _, state in rules(new):
        if any(key[: len(place)] == place for key in edits):
            numbers, stamp = jax.tree.map(value_of, (state.hyperparams, state.stamp), is_leaf=is_boxed)
            verify("with_hyperparams", numbers, stamp)
    return new


# ---------------------------------------------------------------- finding


def _slots(opt_state: Any) -> list[Slot]:
    """Every hyperparameter and every group of them, outermost first."""
    found: list[Slot] = []

    def walk(place: tuple[str, ...], name: tuple[str, ...], x: Any) -> None:
        if not hasattr(x, "keys"):
            found.append(Slot(place, dotted(name), x))
            return
        found.append(Slot(place, dotted(name), x))
        for k in sorted(x):
            # the raw state keeps `learning_rate` for the rate that was applied; users find its schedule by that name
            walk((*place, k), (*name, "learning_rate" if k in RATE_KEYS else k), x[k])

    for place, name, state in rules(opt_state):
        for k in sorted(state.hyperparams):
            named = "learning_rate" if k in RATE_KEYS else k
            walk((*place, "hyperparams", k), (*name, named), state.hyperparams[k])
    return found


def _collect(edits: dict[Any, Any], slots: list[Slot], name: str, value: Any) -> None:
    """Turn one `name=value` into edits of single numbers."""
    where = f"with_hyperparams({name}=...)"
    hits = [s for s in slots if s.name == name or s.name.endswith("." + name)]
    exact = [s for s in hits if s.name == name]
    hits = exact or hits
    # a controller is a learning rate that contains another: the outer one is meant
    hits = hits[:1] if all(s.name.startswith(f"{hits[0].name}.") for s in hits[1:]) else hits
    if len(hits) != 1:
        names = ", ".join(s.name for s in (hits or slots) if not s.is_group or hits) or "it has no numbers of lrx's"
        rule = f"is the name of {len(hits)} hyperparameters" if hits else "is not in this state"
        raise ValueError(f"{where} {rule}: {names}." + (" Give the dotted path: **{'path': ...}." if hits else ""))
    slot = hits[0]
    if hasattr(value, "keys"):
        if not slot.is_group:
            raise ValueError(f"{where} is one number in this state, got a dict. To use a schedule, see lrx.resume.")
        for k, v in value.items():
            _collect(edits, [s for s in slots if s.name.startswith(slot.name + ".")], f"{slot.name}.{k}", v)
        return
    if not is_number(value) and hasattr(value, "to_json"):
        _collect_schedule(edits, slots, slot, value, where)
        return
    if slot.is_group:
        raise ValueError(
            f"{where} is {'controlled' if slot.place[-1] == 'controller' else 'scheduled'}: give its numbers, "
            f"{name}={{{', '.join(f'{k!r}: ...' for k in slot.value)}}}, "
            f"or a schedule of the same class, got {value!r}."
        )
    edits[slot.place] = where, value


def _collect_schedule(edits: dict[Any, Any], slots: list[Slot], slot: Slot, value: Any, where: str) -> None:
    numbers = to_dict(value)
    if not slot.is_group or not same_keys(numbers, slot.value):
        held = "{" + ", ".join(slot.value) + "}" if slot.is_group else "one number"
        raise ValueError(
            f"{where} holds {held} in this state and can only take a schedule of the same class, got {value!r}. "
            "To change the kind of schedule, build the new optimizer and use lrx.resume."
        )
    for s in slots:
        if not s.is_group and s.place[: len(slot.place)] == slot.place:
            x: Any = numbers
            for k in s.place[len(slot.place) :]:
                x = x[k]
            edits[s.place] = where, x


# ---------------------------------------------------------------- replacing


def replaced(where: str, old: Any, value: Any) -> Any:
    """`value` with dtype, shape, sharding and commitment of `old`: otherwise the next step compiles again."""
    held = value_of(old)
    kind = int if jnp.issubdtype(held.dtype, jnp.integer) else float
    if jnp.issubdtype(held.dtype, jax.dtypes.extended):
        return value
    if not is_number(value):
        raise TypeError(f"{where} must be a number, got {value!r}.")
    if math.prod(np.shape(value)) == 1:
        value = canonical(where, value if np.ndim(value) == 0 else value.reshape(()), kind)
    if np.shape(value) != held.shape and np.ndim(value):
        raise ValueError(f"{where} must be a scalar or have shape {held.shape}, got shape {np.shape(value)}.")
    if is_tracer(value) or is_tracer(held) or not isinstance(held, jax.Array):
        # a copy: a step must not donate the caller's array, which a tracer of vmap may hold
        new = jnp.copy(jnp.broadcast_to(jnp.asarray(value).astype(held.dtype), held.shape))
    else:
        new = np.broadcast_to(np.asarray(value).astype(held.dtype), held.shape)
        new = jax.device_put(new, held.sharding) if held.committed else jnp.asarray(new)
    return boxed_like(old, new)
