"""Keys of random numbers, kept as whole numbers: what a rule or a schedule holds in a state is numbers only."""

import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from . import _check as check
from ._arithmetic import is_none, is_tiny, trainable, wide
from ._numbers import INT32_MAX, canonical, is_key, is_number, is_tracer

KINDS = {2: "threefry2x32", 4: "rbg"}
"""The kinds of keys, by the number of their words."""


def words_of(key: Any) -> tuple[Any, ...]:
    """The words of a key as int32, with the same bits."""
    if is_key(key):
        kind = str(jax.random.key_impl(key))
        if kind not in KINDS.values():
            raise check.fail("key", f"must be of {' or '.join(KINDS.values())}", kind)
        key = jax.random.key_data(key)
    if isinstance(key, tuple | list):
        if not all(is_number(word) for word in key):
            raise TypeError(f"{check.where('key')} must be a key of jax.random, got {key!r}.")
    elif np.ndim(key) != 1:
        raise TypeError(f"{check.where('key')} must be a key of jax.random such as jax.random.key(0), got {key!r}.")
    if len(key) not in KINDS:
        raise check.fail("key", "must have 2 or 4 words", key)
    return tuple(
        word.astype(jnp.int32) if is_tracer(word) else int(np.int32(np.uint32(int(word) % 2**32))) for word in key
    )


def seed_and_words(key: Any, seed: Any = None) -> tuple[Any, Any]:
    """A seed, or the words of a key: the other of the two is None. 0 where neither is given."""
    if seed is not None and key is not None:
        raise check.fail("seed", "must not be given beside key", seed, "They are two names of one argument.")
    name, given = ("seed", seed) if key is None else ("key", key)
    given = 0 if given is None else given
    if is_key(given) or isinstance(given, tuple | list) or np.ndim(given):
        return None, words_of(given)
    if not is_number(given):
        raise TypeError(f"{check.where(name)} must be a seed or a key of jax.random, got {given!r}.")
    if is_tracer(given):
        return canonical(check.where(name), given, int), None
    if given % 1:
        raise TypeError(f"{check.where(name)} must be a whole number or a key of jax.random, got {given!r}.")
    if 0 <= given <= INT32_MAX:
        return int(given), None
    return None, words_of(jax.random.key(int(given)))


def key_of(seed: Any, words: Any) -> jax.Array:
    """The key of a seed, or of words."""
    if words is None:
        return jax.random.key(jnp.asarray(seed, jnp.int32))
    bits = jnp.stack([jnp.asarray(word, jnp.int32) for word in words])
    return jax.random.wrap_key_data(jax.lax.bitcast_convert_type(bits, jnp.uint32), impl=KINDS[len(words)])


def normal_like(keys: Any, tree: Any) -> Any:
    """Standard normal numbers for each trainable leaf, in its dtype, each leaf with the key of its place; else None."""
    leaves, treedef = jax.tree.flatten(tree, is_leaf=is_none)
    present = iter(range(len(leaves)))  # a leaf that is None has no key
    return treedef.unflatten([None if x is None else _normal(keys[next(present)], x) for x in leaves])


_PLACED = "out_sharding" in inspect.signature(jax.random.normal).parameters


def _normal(key: jax.Array, x: Any) -> Any:
    if not trainable(x):
        return jnp.zeros((), jnp.float32)  # not used
    x = jnp.asarray(x)
    dtype = wide(x.dtype) if is_tiny(x.dtype) else x.dtype
    place = {"out_sharding": jax.typeof(x).sharding} if _PLACED else {}
    return jax.random.normal(key, x.shape, dtype, **place)
