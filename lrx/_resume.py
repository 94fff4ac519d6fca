"""`resume`: the memory of a checkpoint under the hyperparameters of the code."""

import logging
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import SingleDeviceSharding
from jax.tree_util import GetAttrKey

from . import _check as check
from ._boxes import boxed_like, is_boxed, map_with_names, value_of
from ._matching import Found, Leaf, Matching
from ._numbers import is_key, is_tracer
from ._pytree import key_name
from ._resume_at_step import at_step, is_step, placed_like
from ._rules_in import applied_last, rules_in
from ._state_parts import MISSING, UPDATE_COUNTS, Part, Place, entry, shown

_log = logging.getLogger("lrx")


@check.public
def resume(
    tx: Any,
    params: Any,
    restored: Any,
    *,
    missing: Literal["error", "fresh"] = "error",
    extra: Literal["error", "drop"] = "error",
    report: Callable[[str], object] | None = None,
) -> Any:
    """The state of `tx` with the memory of an old state, of lrx's or optax's, and the hyperparameters of `tx`.

    What the optimizer remembers (counts, moments) comes from the old state, its hyperparameters (rates, decays,
    schedules) from the code. So a run that was started with a constant rate continues with a schedule at the right
    count, and vice versa; and a run that was started with optax continues with lrx, with the same next step.

    A leaf goes with its rule and its parameter: the Adam moment of `head.w` is found in whatever chain, mask, group or
    accumulation it was, so that these may come and go. What is not there, is there twice, or has another shape is an
    error that lists the paths. With `missing="fresh"` it starts as in `tx.init(params)`, and with `extra="drop"` what
    `tx` has no place for is left out; both are reported by path.

    A file does not say which rule wrote it: states of optax with the same fields, such as those of Adam and Yogi, are
    told apart only while they are live. `tx` must name the right one.

    **Counts.** A rule has one count, also for leaves that start fresh beside others. After n updates Adam's moments of
    such a leaf are then not corrected for their start at 0: its first step is (1 − b1)/√(1 − b2) times the
    usual one, 3.2 by default, and its later ones come back to normal within 1/(1 − b2) updates. Where that is too much,
    give the new leaves a group of their own (`lrx.partition`): a rule whose leaves are all fresh counts from 0, and a
    group that is new also starts its schedule at 0. Micro-gradients of an unfinished window of accumulation are lost
    where `lrx.accumulate` goes away.

    Args:
      tx: the optimizer as the code builds it now.
      params: the parameters, arrays (their values matter only to rules whose memory starts from them).
      restored: a state of lrx's or optax's, live or pickled; the nested dicts and lists that Orbax restores it to
        without a target, or Flax's `to_state_dict` and `msgpack_restore`; or, for those who have no state, the number
        of updates completed, an integer ≥ 0: all counts are then this number, and moments are fresh. Rules outside an
        accumulation count its micro-steps: that many times `every`.
      missing: "error", or "fresh" for parts of the memory that the old state lacks.
      extra: "error", or "drop" for parts of the old state that `tx` has no place for. A part of another shape is both
        missing and extra.
      report: called with each line on what starts fresh and what is dropped, such as `print`. By default they are one
        warning of the logger "lrx".

    Returns:
      A state of `tx`; each leaf has the dtype and the sharding that `tx.init(params)` gives it.

    Raises:
      ValueError: if a part of the memory has no counterpart, several, or another shape: the message lists the paths.
      TypeError: if `restored` is no state and no whole number.

    Examples:
      >>> import jax.numpy as jnp, lrx, optax
      >>> params = jnp.zeros(3)
      >>> _, old = optax.adam(1e-3).update(params, optax.adam(1e-3).init(params))
      >>> tx = lrx.adam(lrx.linear_schedule(1.0, 0.0, transition_steps=10))
      >>> _, state = tx.update(params, lrx.resume(tx, params, old))
      >>> print(lrx.count(state), lrx.learning_rate(state))
      2 0.9
      >>> print(lrx.count(lrx.resume(tx, params, 1200)))
      1200

      Gradual unfreezing: each phase has more groups; those that were trained go on, the others start.

      >>> params = {"body": jnp.ones(2), "head": jnp.ones(2)}
      >>> head = lrx.adam(lrx.linear_schedule(1.0, 0.0, transition_steps=10))
      >>> tx = lrx.partition({"head": head, "body": lrx.freeze(True)}, {"head": "head", "body": "body"})
      >>> _, state = tx.update(params, tx.init(params), params)
      >>> tx = lrx.partition({"head": head, "body": lrx.adam(0.01)}, {"head": "head", "body": "body"})
      >>> state = lrx.resume(tx, params, state, missing="fresh", report=print)
      body.scale_by_adam.count is not in the checkpoint: starts fresh
      body.scale_by_adam.mu.body is not in the checkpoint: starts fresh
      body.scale_by_adam.nu.body is not in the checkpoint: starts fresh
      body.scale_by_learning_rate.num_updates is not in the checkpoint: starts fresh
      >>> _, state = tx.update(params, state, params)
      >>> print(lrx.learning_rates(state)["head.scale_by_learning_rate.learning_rate"])
      0.9
    """
    check.one_of(("error", "fresh"), missing=missing)
    check.one_of(("error", "drop"), extra=extra)
    if is_step(restored):
        return at_step(tx, params, restored)
    if restored is None or jax.tree_util.all_leaves([restored]):
        raise TypeError(
            "resume(restored=...) must be a state, or the dicts and lists of one, or the number of updates completed "
            f"as a whole number, got {restored!r}."
        )
    fresh = tx.init(params)
    filling = _Filling(tx, fresh, Matching(fresh, _unboxed(restored), params))
    new = map_with_names(lambda path, x: boxed_like(x, filling.leaf(path, value_of(x))), fresh)
    filling.check(missing, extra)
    new = _on_one_device(new)
    lines = filling.lines()
    if report is not None:
        for line in lines:
            report(line)
    elif lines:
        _log.warning("resume(tx, params, restored): %s.", "; ".join(lines))
    return new


def _on_one_device(state: Any) -> Any:
    """The state, all of it bound to the device that a part of it is bound to, as by a file.

    The first update binds it all: the second one would find arrays of another kind, and be compiled anew.
    """
    arrays = [x for x in jax.tree.leaves(state) if isinstance(x, jax.Array) and not is_tracer(x)]
    places = {x.sharding for x in arrays if getattr(x, "committed", False)}
    if len(places) != 1 or not isinstance(place := places.pop(), SingleDeviceSharding):
        return state

    def bound(path: Any, x: Any) -> Any:
        value = value_of(x)
        other = is_tracer(value) or not isinstance(value, jax.Array)
        return x if other else boxed_like(x, jax.device_put(value, place))

    return map_with_names(bound, state)


class _Filling:
    """The new state, leaf by leaf, and what there is to say about it."""

    def __init__(self, tx: Any, fresh: Any, matching: Matching):
        self.matching = matching
        self.rules = dict(rules_in(tx.init, fresh))
        self.absent: list[Place] = []
        self.faults: list[str] = []
        self.resized: list[str] = []
        self.notes: list[str] = []
        self.given = {id(x) for x in jax.tree.leaves(matching.params)}
        """The arrays that somebody has: two leaves of one buffer cannot be donated."""
        self.left: list[Place] = []

    def leaf(self, path: Any, fresh: Any) -> Any:
        """The value of one leaf of the new state."""
        if any(isinstance(k, GetAttrKey) and k.name in ("hyperparams", "stamp") for k in path):  # not names
            return fresh
        names: Place = tuple(map(key_name, path))
        leaf = self.matching.leaves.get(names)
        if names in self.matching.clocks:
            return self._taken(names, fresh, self.matching.clock(self.matching.clocks[names]))
        if leaf is None:  # of a state that is no rule's
            self.matching.used.add(names)
            return self._taken(names, fresh, Found(entry(self.matching.old_tree, names)))
        if leaf.field == "learning_rate":
            return self._rate(leaf, fresh)
        if leaf.part.is_rate and leaf.part.is_ours:
            return self._of_rate(names, leaf, fresh)
        found = self.matching.of_param(leaf) if leaf.of_param else self.matching.of_rule(leaf)
        if found.value is MISSING and not found.fault and self.matching.is_as_init(leaf):
            if leaf.field in UPDATE_COUNTS:
                self.notes.append(f"{shown(names)} starts at 0: the checkpoint has no count for it")
            return fresh
        return self._taken(names, fresh, found)

    def _of_rate(self, names: Place, leaf: Leaf, fresh: Any) -> Any:
        """The count and the controller of a learning rate."""
        matching = self.matching
        if leaf.field in UPDATE_COUNTS:
            found = matching.count_for(leaf.part)
            ours = any(old.is_ours for old in matching.old.parts)
            if found.value is MISSING and not found.fault and not ours and _needs_no_count(leaf.part):
                # optax's state of a constant rate has no count, and its next step needs none
                self.notes.append(f"{shown(names)} starts at 0: the checkpoint has no count for it")
                return fresh
            return self._taken(names, fresh, found)
        old = matching.rate_of(leaf.part)
        if old is None or leaf.field not in old.fields:  # there was no controller, or an optimizer in its place
            found = matching.of_controller(leaf) if leaf.field == "controller" else Found()
            if found.value is not MISSING:
                return self._taken(names, fresh, found)
            if leaf.field == "controller":
                self.notes.append(f"{shown(leaf.part.places[leaf.field])} starts fresh: the checkpoint has none")
            return fresh
        matching.used.add((*old.places[leaf.field], *leaf.path))
        return self._taken(names, fresh, Found(old.at(leaf.field, leaf.path)))

    def _rate(self, leaf: Leaf, fresh: Any) -> Any:
        """The rate applied last: the old one, or what the schedule of `tx` gave at that update."""
        matching = self.matching
        found = matching.applied_last(leaf)
        if found is not MISSING:
            return self._given(fresh, found)
        count, rule = matching.count_for(leaf.part).value, self.rules.get(leaf.part.place)
        applied = None if rule is None or count is MISSING else applied_last(rule, count)
        return fresh if applied is None else placed_like(fresh, applied)

    def _taken(self, names: Place, fresh: Any, found: Found) -> Any:
        if found.fault:
            self.faults.append(found.fault)
            return fresh
        if found.value is MISSING or found.value is None or hasattr(found.value, "keys"):
            self.absent.append(names)
            return fresh
        value = _as_key(found.value, fresh) if is_key(fresh) else found.value
        if np.shape(value) != np.shape(fresh):
            shapes = f"has shape {np.shape(value)} in the checkpoint, {np.shape(fresh)} in tx"
            self.resized.append(f"{shown(names)} {shapes}")
            return fresh
        return self._given(fresh, value)

    def _given(self, fresh: Any, value: Any) -> Any:
        """A value with the dtype and the placement of the fresh one, in a buffer of its own."""
        again = id(value) in self.given
        self.given.add(id(value))
        return placed_like(fresh, jnp.array(value) if again else value)

    def check(self, missing: str, extra: str) -> None:
        """The error, if what was found does not fit."""
        self.left = self.matching.left_over()
        faults = list(dict.fromkeys(self.faults))
        faults += [f"{shown(names)} is not in the checkpoint" for names in self.absent if missing == "error"]
        faults += self.resized if (missing, extra) != ("fresh", "drop") else []
        if extra == "error":
            faults += [f"{shown(names)} is in the checkpoint, but tx has no place for it" for names in self.left]
        if faults:
            raise ValueError(
                f"resume(tx, params, restored) found that they do not fit: {'; '.join(faults)}. "
                "The chain of tx must have the links whose memory the checkpoint holds; "
                'missing="fresh" starts what it lacks fresh, extra="drop" drops what tx has no place for.'
            )

    def lines(self) -> list[str]:
        """What starts fresh and what is dropped."""
        return [
            *dict.fromkeys(self.notes),
            *(f"{shown(names)} is not in the checkpoint: starts fresh" for names in self.absent),
            *(f"{text}: starts fresh" for text in self.resized),
            *(f"{shown(names)} is in the checkpoint, but tx has no place for it: dropped" for names in self.left),
        ]


def _as_key(value: Any, key: Any) -> Any:
    """The words of a random key, which is how most files hold one, as a key of the kind of `key`."""
    words = np.shape(jax.random.key_data(key))[np.ndim(key) :]
    if is_key(value) or np.shape(value)[-len(words) :] != words:
        return value
    return jax.random.wrap_key_data(jnp.asarray(value).astype(jnp.uint32), impl=jax.random.key_impl(key))


def _needs_no_count(rate: Part) -> bool:
    """Whether a rate does not depend on the count: a number, or a controller of a number."""
    if "controller" not in rate.fields:
        return "num_updates" in rate.fields or "skipped" in rate.fields  # Polyak's step, which has no state in optax
    base = (rate.numbers or {}).get("controller", {}).get("learning_rate", {})
    return not hasattr(base, "keys")


def _unboxed(restored: Any) -> Any:
    """Plain arrays in place of boxes, also of those in a file: Flax nnx writes a box as {"value": array}."""
    restored = jax.tree.map(value_of, restored, is_leaf=is_boxed)
    leaves = jax.tree_util.tree_flatten_with_path(restored)[0]
    if not leaves or any(key_name(path[-1]) != "value" for path, _ in leaves if path):  # a parameter may have that name
        return restored
    return jax.tree.map(lambda x: x["value"], restored, is_leaf=lambda x: hasattr(x, "keys") and set(x) == {"value"})
