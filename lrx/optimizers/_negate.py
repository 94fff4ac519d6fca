"""Flip the sign: ascent to descent."""

from typing import Any

from .._arithmetic import map_leaves
from .._pytree import pytree_dataclass
from .._rule import Rule
from .._transformation import Transformation, transformation


@pytree_dataclass
class Negate(Rule):
    """See `negate`."""

    elementwise = True

    def init(self, params: Any) -> tuple[()]:
        """Nothing to remember."""
        del params
        return ()

    def update(self, updates: Any, state: tuple[()], params: Any = None, **extra: Any) -> tuple[Any, tuple[()]]:
        """`-updates`."""
        del params, extra
        return map_leaves(lambda u: (-u,), 1, updates)[0], state


def negate() -> Transformation:
    """Negate the updates, as `optax.scale(-1)` does. The sign is no hyperparameter, so no state holds it."""
    return transformation(Negate())
