"""The stamp of a rule: a fingerprint of the numbers in the code, kept in the state beside the numbers that count.

A number in the state counts as long as the numbers in the code are those with which it was written; once the code has
other numbers, they count. The stamp is how an update knows which of the two it is. It is formed on the
host, from the rule's concrete numbers, its options and the names of its classes, and is the same in every process.
A traced number always counts, and takes no part in the stamp.
"""

import hashlib
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import optax

from ._numbers import is_array, is_number, is_tracer, value_key
from ._pytree import factory_name, fields_of, is_node


def stamp_of(rule: Any) -> np.int32:
    """The fingerprint of a rule, int32, formed once for each object."""
    cached = rule.__dict__.get("_cached_stamp")
    if cached is None:
        digest = hashlib.blake2b(digest_size=4)
        for part in _content(rule):
            digest.update(part)
            digest.update(b"\0")
        cached = np.frombuffer(digest.digest(), np.int32)[0]
        object.__setattr__(rule, "_cached_stamp", cached)
    return cached


def _content(x: Any) -> Iterator[bytes]:
    """The content of `x` as bytes, without addresses and hashes of objects, which a restart changes."""
    if is_tracer(x) or isinstance(x, optax.GradientTransformation):
        return  # inner transformations have their own stamps
    if is_node(x):
        yield factory_name(x).encode()
        for name, value in fields_of(x).items():
            yield name.encode()
            yield from _content(value)
    elif is_array(x) or (is_number(x) and not isinstance(x, bool)):
        dtype, shape, bits = value_key(x)
        yield f"{dtype}{shape}".encode()
        yield bits
    elif isinstance(x, tuple | list):
        yield f"{len(x)}".encode()
        for value in x:
            yield from _content(value)
    elif x is None or isinstance(x, bool | str | bytes | np.dtype):
        yield repr(x).encode()
    elif isinstance(x, type) or hasattr(x, "__qualname__"):
        yield x.__qualname__.encode()
    else:
        yield type(x).__qualname__.encode()
        leaves = jax.tree.leaves(x)
        if not any(leaf is x for leaf in leaves):  # somebody else's pytree
            yield from _content(leaves)
