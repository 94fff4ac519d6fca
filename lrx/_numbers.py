"""One number: how a hyperparameter is stored, rounded and compared.

On an object a number stays what the user wrote (a Python number, a read-only NumPy array or a tracer), so that
it prints and serialises as typed. In a state it is a JAX array of the field's dtype: float32 for a `Scalar`,
int32 for a `Count`, whatever the Python value was. `adam(1)` has a float32 rate.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NewType

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    Scalar = float | jax.Array | np.ndarray | np.floating | np.integer
else:
    Scalar = float | jax.Array
"""A field that holds one real number, float32 in every state."""

if TYPE_CHECKING:
    Count = Scalar  # factories round a number of steps such as `0.05 * total_steps`
else:
    Count = int | jax.Array
"""A field that holds one whole number of steps, int32 in every state."""

if TYPE_CHECKING:
    Hyperparameter = Scalar | Callable[[Any], Any]
else:
    Hyperparameter = NewType("Hyperparameter", object)  # so that `help` shows the name
    Hyperparameter.__module__ = "lrx"
"""What stands where an optimizer takes a real number: the number, or a schedule (any function of the count)."""

F32, I32 = np.dtype("float32"), np.dtype("int32")
INT32_MAX = 2**31 - 1
FLOAT32_MAX = float(np.finfo(np.float32).max)


def is_tracer(x: Any) -> bool:
    return isinstance(x, jax.core.Tracer)


def is_array(x: Any) -> bool:
    return isinstance(x, jax.Array | np.ndarray | np.generic)


def is_number(x: Any) -> bool:
    """A Python number, an array or a tracer; not a bool."""
    return is_array(x) or (isinstance(x, int | float) and not isinstance(x, bool))


def is_key(x: Any) -> bool:
    """A typed PRNG key, whose bits are not a number."""
    return is_array(x) and jnp.issubdtype(x.dtype, jax.dtypes.extended)


def canonical(where: str, x: Any, kind: type | None) -> Any:
    """`x` in the one form that objects store, or the error that names `where`.

    `kind` is float for a `Scalar`, int for a `Count`, and None where the value decides (several numbers in an array).
    """
    given = type(x)  # Python's own numbers, which nearly all are, at a hundredth of the time of what follows
    if given is int and kind is not float and abs(x) <= INT32_MAX:
        return x
    if ((given is int and kind is float) or (given is float and kind is not int)) and abs(x) <= FLOAT32_MAX:
        return float(x)
    if isinstance(x, np.bool_) or not is_number(x) or (is_array(x) and x.dtype == bool):
        raise TypeError(f"{where} must be a number, got {x!r}.")
    if is_key(x):
        return x
    if kind is not None and np.ndim(x):
        raise ValueError(f"{where} must be a scalar, got shape {np.shape(x)}. To sweep it, use jax.vmap over init.")
    if jnp.issubdtype(jnp.result_type(x), jnp.complexfloating):
        raise TypeError(f"{where} must be a real number, got {x!r}.")
    integer = jnp.issubdtype(jnp.result_type(x), jnp.integer)
    if kind is int and not integer and (is_tracer(x) or float(np.asarray(x)) % 1):
        raise TypeError(f"{where} must be a whole number, got {x!r}.")
    whole = kind is int or (kind is None and integer)
    if is_tracer(x):
        return x.astype(I32 if whole else F32)
    return _frozen(where, np.array(x, copy=True), whole)


def _frozen(where: str, x: np.ndarray, whole: bool) -> Any:
    """A copy on the host: the user's buffer may be donated or changed later."""
    if whole and x.size and not -INT32_MAX - 1 <= int(x.min()) <= int(x.max()) <= INT32_MAX:
        raise ValueError(f"{where} must fit in int32, got {x}.")
    if not whole and x.size:
        size = np.abs(x if x.dtype == object else x.astype(np.float64))  # Python integers beyond int64 are objects
        if np.any((size > FLOAT32_MAX) & (size != np.inf)):
            raise ValueError(f"{where} must fit in float32, got {x}.")
    if x.ndim == 0:
        return int(x) if whole else float(x)
    x = x.astype(I32 if whole else F32)
    x.setflags(write=False)
    return x


def flag(where: str, x: Any) -> bool:
    """`x` as True or False, also from 1 or 0, or the error that names `where`; `bool` would accept any object."""
    if not isinstance(x, bool | np.bool_ | int) or x not in (0, 1):
        raise TypeError(f"{where} must be True or False, got {x!r}.")
    return bool(x)


def state_dtype(x: Any) -> Any:
    """The dtype that number `x` has in a state."""
    if isinstance(x, int | float):
        return I32 if isinstance(x, int) else F32
    if is_key(x):
        return x.dtype
    return F32 if jnp.issubdtype(x.dtype, jnp.floating) else I32 if jnp.issubdtype(x.dtype, jnp.integer) else x.dtype


def in_state(x: Any) -> jax.Array:
    """Number `x` as a state holds it."""
    if is_tracer(x):  # under a vmap that is not jitted the tracer holds the caller's own array, which a step may donate
        return jnp.copy(x.astype(state_dtype(x)))
    return x if is_key(x) else jnp.asarray(np.asarray(x).astype(state_dtype(x)))


class Identity:
    """A key that equals only itself. It holds the object, so the id cannot be reused while the key lives."""

    def __init__(self, x: Any):
        self.x = x

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Identity) and self.x is other.x

    def __hash__(self) -> int:
        return id(self.x)


def value_key(x: Any) -> Any:
    """A hashable key by which numbers compare: their bits in the state's dtype. NaN equals NaN, 0.0 is not -0.0."""
    if isinstance(x, np.dtype):
        return x
    if is_tracer(x) or not is_number(x):
        return Identity(x)
    if is_key(x):
        x = jax.random.key_data(x)
    bits = np.asarray(x).astype(state_dtype(x))
    return bits.dtype.str, bits.shape, bits.tobytes()
