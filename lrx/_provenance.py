"""Where an optimizer's numbers came from, to make one mistake loud.

The numbers that count are those in the state. Code that builds an optimizer anew inside every update, with new
numbers, and applies it to an old state would have them silently overridden: `optax.inject_hyperparams` does, and so
does `jax.jit(lambda lr: adam(lr).update(grads, state))`. Such an optimizer is recognised by two marks: its numbers
are JAX arrays or tracers, and its `init` has never run.
"""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np

from ._numbers import in_state, is_tracer
from ._pytree import factory_name, to_dict


@dataclasses.dataclass(eq=False)
class Provenance:
    """The record of one optimizer built from JAX arrays or tracers. Compares by identity."""

    traced: bool
    numbers: Any
    """The numbers as given, on the host, or None if they are tracers."""
    initialised: bool = False

    def check(self, template: Any, hyperparams: Any) -> None:
        """Raise if the numbers that this optimizer was built with are about to be ignored."""
        if self.initialised or (not self.traced and _agree(hyperparams, self.numbers)):
            return
        raise ValueError(
            f"{factory_name(template)} was built with new numbers for this update, but the numbers in its state are "
            "the ones that count. Write lrx.with_hyperparams(state, ...); optax.inject_hyperparams is not needed "
            "around lrx."
        )


def _agree(hyperparams: Any, numbers: Any) -> bool:
    held, given = jax.tree.leaves(hyperparams), jax.tree.leaves(numbers)
    if any(map(is_tracer, held)):
        return True  # cannot be compared while tracing
    return all(np.array_equal(np.asarray(a), b, equal_nan=True) for a, b in zip(held, given, strict=True))


def provenance_of(rule: Any) -> Provenance | None:
    """A record for a rule that holds JAX arrays or tracers; None for one that was typed in Python numbers."""
    leaves = jax.tree.leaves(rule)
    if any(map(is_tracer, leaves)):
        return Provenance(traced=True, numbers=None)
    return _shared(rule) if rule.from_arrays else None


@functools.lru_cache(256)
def _shared(rule: Any) -> Provenance:
    """Equal rules share one record: a jitted `init` of the one may be served from the cache of the other."""
    return Provenance(traced=False, numbers=to_dict(rule, lambda x: np.asarray(in_state(x))))
