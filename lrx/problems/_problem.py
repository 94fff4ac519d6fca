"""What is trained, as a record of pure functions: everything else in tuning is a function of a `Problem`."""

import dataclasses
import inspect
from collections.abc import Callable, Iterable
from typing import Any


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Problem:
    """A training problem: where parameters start, what is minimised, and on which data.

    The loss at parameters θ and batch B is `loss(θ, B, key)`. Training minimises its mean over batches, which come
    from `sample` (drawn on the device, inside the compiled program) or from `batches` (read from the host).

    Two problems are equal when they hold the same functions, so that equal problems share compiled programs. As under
    `jax.jit`, what a function reads from outside (a global array, say) is read once: make a new problem for new data.

    Args:
      init: `init(key) -> params`, a pytree of floating arrays.
      loss: `loss(params, batch, key) -> scalar`; `key` (dropout, say) may be None and is passed by position.
      sample: `sample(key) -> batch`, pure; give this or `batches`.
      batches: an iterable of batches, or a function without arguments that returns a fresh one. An iterator can be
        read once only: to train more than once, give the function.
      evaluate: `evaluate(params) -> {"loss": ..., "accuracy": ...}`, scalars on held-out data; accuracy is optional.
      name: what reports and plots call it.

    Raises:
      TypeError: if a function is missing, is not callable or does not take these arguments, or if not exactly one
        of `sample` and `batches` is given.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> bowl = Problem(
      ...     init=lambda key: jnp.ones(3),
      ...     loss=lambda params, batch, key=None: jnp.sum((params - batch) ** 2),
      ...     sample=lambda key: jax.random.normal(key, (3,)),
      ...     name="bowl",
      ... )
      >>> bowl
      Problem(name='bowl')
      >>> bowl.loss(jnp.ones(3), jnp.zeros(3))
      Array(3., dtype=float32)
    """

    init: Callable[..., Any]
    loss: Callable[..., Any]
    sample: Callable[..., Any] | None = None
    batches: Iterable[Any] | Callable[[], Iterable[Any]] | None = None
    evaluate: Callable[..., Any] | None = None
    name: str = "problem"

    def __post_init__(self) -> None:
        _check_function("init", self.init, "key")
        _check_function("loss", self.loss, "params", "batch", "key")
        if (self.sample is None) == (self.batches is None):
            given = "neither" if self.sample is None else "both"
            raise TypeError(
                f"Problem(sample=..., batches=...) must be given one of the two, got {given}. "
                "sample(key) draws a batch on the device, batches are read from the host."
            )
        if self.sample is not None:
            _check_function("sample", self.sample, "key")
        if callable(self.batches):
            _check_function("batches", self.batches)
        elif self.batches is not None and not isinstance(self.batches, Iterable):
            raise _wrong("batches", "must be an iterable of batches or a function returning one", self.batches)
        if self.evaluate is not None:
            _check_function("evaluate", self.evaluate, "params")
        if not isinstance(self.name, str):
            raise _wrong("name", "must be a string", self.name)

    def _identity(self) -> tuple[Any, ...]:
        functions = (self.init, self.loss, self.sample, self.batches, self.evaluate)
        return self.name, *map(id, functions)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Problem) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def __repr__(self) -> str:
        return f"Problem(name={self.name!r})"


def _check_function(argument: str, function: Any, *parameters: str) -> None:
    """A callable that can be called with these arguments, by position."""
    if not callable(function):
        raise _wrong(argument, "must be callable", function)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some callables written in C have none
        return
    try:
        signature.bind(*parameters)
    except TypeError:
        name = getattr(function, "__name__", type(function).__name__)
        wanted = f"{argument}({', '.join(parameters)})"
        raise _wrong(argument, f"must be callable as {wanted}", f"{name}{signature}", show=str) from None


def _wrong(argument: str, rule: str, value: Any, show: Callable[[Any], str] = repr) -> TypeError:
    return TypeError(f"Problem({argument}=...) {rule}, got {show(value)}.")
