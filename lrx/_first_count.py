"""The count whose rate a fresh state shows as the one applied last."""

import contextlib
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp
from optax.schedules import WrappedSchedule

_count: ContextVar[Any] = ContextVar("lrx_first_count", default=0)
_lock, _open = threading.Lock(), [0]
_of_optax = WrappedSchedule.init


def shown_count() -> jax.Array:
    """The count at which `init` evaluates a schedule to show its rate: 0, but inside `showing`; int32 []."""
    return jnp.asarray(_count.get(), jnp.int32)


@contextlib.contextmanager
def showing(count: Any) -> Iterator[None]:
    """Inside, what `init` gives shows the rates of `count`, under wrappers of other libraries too.

    `optax.inject_hyperparams` evaluates schedules itself, from the count that `WrappedSchedule.init` gives. It has no
    argument for that, so the method is replaced meanwhile; other threads still get a count of 0 from it.
    """
    token = _count.set(count)
    with _lock:
        _open[0] += 1
        WrappedSchedule.init = lambda self: _of_optax(self)._replace(count=shown_count())  # type: ignore[method-assign]
    try:
        yield
    finally:
        with _lock:
            _open[0] -= 1
            if not _open[0]:
                WrappedSchedule.init = _of_optax  # type: ignore[method-assign]
        _count.reset(token)
