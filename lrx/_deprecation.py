"""The one way in which a public name or argument is retired."""

import functools
import warnings
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def deprecated(*, since: str, removed_in: str, instead: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorator of a public function that will go: a DeprecationWarning where the user calls it.

    Args:
      since: the version that warns first.
      removed_in: the version that no longer has it: two minor versions later at least.
      instead: what to write, such as "lrx.adam(...)".
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        message = f"{function.__name__}(...) is deprecated since lrx {since} and goes with {removed_in}: use {instead}."

        @functools.wraps(function)
        def warning(*args: P.args, **kwargs: P.kwargs) -> R:
            warnings.warn(message, DeprecationWarning, stacklevel=2)
            return function(*args, **kwargs)

        return warning

    return decorate
