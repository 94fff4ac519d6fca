"""What an optimizer's state says about its stability: by what it divides the gradient, and how far its steps may go."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .. import _check as check
from .._arithmetic import one_minus_power, trainable
from .._numbers import F32, is_tracer
from .._rule import is_rule_state
from .._state_paths import rules


class Preconditioner(NamedTuple):
    """The linear part of an optimizer."""

    divisor: Any
    """P: the gradient is divided by it; a tree like the parameters, or None for 1."""
    threshold: Any
    """The largest rate · eigenvalue of P⁻¹H at which a quadratic does not diverge."""
    rate: Any
    """The learning rate, if the state has it, else None."""


ADAM = {"b1": 0.9, "b2": 0.999, "eps": 1e-8, "eps_root": 0.0, "nesterov": False}
NUMBERS: dict[str, dict[str, Any]] = {
    "ScaleByAdamState": ADAM,
    "ScaleByNadamState": {**ADAM, "nesterov": True},
    "ScaleByAmsgradState": ADAM,
    "ScaleByBeliefState": {**ADAM, "eps": 1e-16},
    "ScaleByYogiState": {**ADAM, "eps": 1e-3},
    "ScaleByRmsState": {"eps": 1e-8, "eps_in_sqrt": True},
    "ScaleByRssState": {"eps": 1e-7},
    "TraceState": {"decay": 0.9, "nesterov": False},
    "EmaState": {"decay": 0.9},
}
"""The states that are understood, lrx's and optax's of the name, with the numbers that optax takes by default."""
NUMBERS["ScaleByRmsWithCountState"] = NUMBERS["ScaleByRmsState"]
MOMENTA = ("TraceState", "EmaState")

NEUTRAL = {"ScaleByLearningRateState", "ScaleByScheduleState", "ScaleState", "ScaleByMultiplierState"}
"""States of links that only multiply the update by a number."""
NOT_LINEAR = {"scale_by_sign", "scale_by_trust_ratio", "normalize", "normalize_by_update_norm", "cautious", "sam"}
"""Links of lrx's whose updates are no linear function of the gradient, though their states are empty."""
NOT_LINEAR_STATES = {"MuonState", "FactoredState", "SophiaState", "MechanizeState", "MechanicState", "SAMState"}
NOT_LINEAR_STATES |= {
    "ScheduleFreeState",
    "DadaptState",
    "DAdaptAdamWState",
    "ProdigyState",
    "MomoState",
    "GaLoreState",
}
NOT_LINEAR_STATES |= {"MadgradState", "COCOBState", "LookaheadState", "HdmState"}


def preconditioner(opt_state: Any, given: Mapping[str, Any]) -> Preconditioner:
    """What a state says; `given` are numbers and options that it does not hold."""
    for found in rules(opt_state):
        for name in found.place:
            if name.removesuffix("_2") in NOT_LINEAR:
                raise _refused(name)
    divisor, thresholds, momentum = None, [], None
    for kind, memory, numbers in _memories(opt_state, {}):
        if kind not in NUMBERS:
            raise _refused(kind)
        n = {**NUMBERS[kind], **{k: x for k, x in numbers.items() if not hasattr(x, "keys")}, **given}
        if kind in MOMENTA:
            if momentum is not None:
                raise check.fail("opt_state", "must have one momentum at most", "several")
            momentum = kind, n
            continue
        if divisor is not None:
            raise check.fail("opt_state", "must divide by one second moment", "several", "Give the state of one group.")
        divisor = _divisor(kind, memory, n)
        if "b1" in NUMBERS[kind]:
            thresholds.append(_bound(n["b1"], n["nesterov"]) / (1 - jnp.asarray(n["b1"], F32)))
    if momentum is not None:
        kind, n = momentum
        b = jnp.asarray(n.get("momentum", n["decay"]), F32)
        thresholds.append(_bound(b, n.get("nesterov", False)) / (1 - b if kind == "EmaState" else 1))
    if len(thresholds) > 1:
        raise check.fail("opt_state", "must have one momentum at most", "Adam's and another")
    threshold = thresholds[0] if thresholds else jnp.asarray(2.0, F32)
    return Preconditioner(divisor, threshold, _rate(opt_state))


def _refused(name: str) -> ValueError:
    known = "gradient descent, momentum, Adam and AdamW, NAdam, AMSGrad, AdaBelief, Yogi, RMSprop and Adagrad"
    rule = "must be of an optimizer whose step is linear in the gradient, with a diagonal preconditioner"
    return check.fail("opt_state", rule, name, f"Understood are {known}; leave opt_state out for the Hessian alone.")


def _bound(b: Any, nesterov: Any) -> jax.Array:
    """(2 + 2b), or (2 + 2b) / (1 + 2b) with Nesterov's momentum: from the roots of its recursion on a quadratic."""
    b = jnp.asarray(b, F32)
    return jnp.where(jnp.asarray(nesterov), (2 + 2 * b) / (1 + 2 * b), 2 + 2 * b)


def _memories(tree: Any, numbers: Any) -> Iterator[tuple[str, Any, Any]]:
    """The name of the type, the memory and the numbers of each rule that does more than multiply."""

    def is_found(x: Any) -> bool:
        return x is not tree and (is_rule_state(x) or _is_named(x))

    if is_rule_state(tree):
        yield from _memories(tree.memory, tree.hyperparams)
        return
    kind = type(tree).__name__
    if _is_named(tree):
        if kind in NUMBERS or kind in NOT_LINEAR_STATES or (kind.startswith("ScaleBy") and kind not in NEUTRAL):
            yield kind, tree, numbers
            return
        held = getattr(tree, "hyperparams", None)  # what optax injects
        numbers = held if hasattr(held, "keys") else {}
    for x in jax.tree.leaves(tree, is_leaf=is_found):
        if is_found(x):
            yield from _memories(x, numbers)


def _is_named(x: Any) -> bool:
    return isinstance(x, tuple) and hasattr(x, "_fields")


def _divisor(kind: str, memory: Any, n: Mapping[str, Any]) -> Any:
    """P, leaf by leaf, with the numbers `n`."""
    count: Any = memory.count if "count" in memory._fields else None  # every tuple has a method of that name
    if count is not None and not is_tracer(count) and jnp.ndim(count) == 0 and count == 0:
        raise check.fail("opt_state", "must be of a training that has begun", "a count of 0")
    c2 = one_minus_power(n["b2"], jnp.asarray(count).astype(F32)) if "b2" in NUMBERS[kind] else 1.0
    if kind == "ScaleByAmsgradState":
        c2 = 1.0  # the largest ones are of corrected moments
    eps, eps_root = jnp.asarray(n["eps"], F32), jnp.asarray(n.get("eps_root", 0.0), F32)

    def leaf(v: Any) -> Any:
        if not trainable(v):
            return v
        v = jnp.asarray(v)
        v = v.astype(jnp.promote_types(v.dtype, F32)) / c2
        if kind == "ScaleByRssState":
            return jnp.sqrt(v + eps)
        if kind.startswith("ScaleByRms"):
            return jnp.where(jnp.asarray(n["eps_in_sqrt"]), jnp.sqrt(v + eps), jnp.sqrt(v) + eps)
        return jnp.sqrt(v if kind == "ScaleByBeliefState" else v + eps_root) + eps

    names = {"ScaleByRssState": "sum_of_squares", "ScaleByAmsgradState": "nu_max"}
    return jax.tree.map(leaf, getattr(memory, names.get(kind, "nu")))


def _rate(opt_state: Any) -> Any:
    from ..state import learning_rates

    found = list(learning_rates(opt_state).values())
    for x in jax.tree.leaves(opt_state, is_leaf=_injected):
        if _injected(x) and not found:
            found.append(jnp.asarray(x.hyperparams["learning_rate"]))
    return found[0] if len(found) == 1 else None


def _injected(x: Any) -> bool:
    held = getattr(x, "hyperparams", None) if _is_named(x) else None
    return isinstance(held, Mapping) and "learning_rate" in held
