"""Characters of English prose."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .. import _check as check
from ._problem import Problem
from ._supervised import Arrays, classification, dense_init, mlp, on_device

ALPHABET = "\n" + "".join(map(chr, range(32, 127)))
"""Newline and printable ASCII; other characters are left out of the text."""

EMBEDDING, HIDDEN, VALIDATION_WINDOWS = 24, 128, 2048


@check.public
def text(batch_size: int = 32, context: int = 32) -> Problem:
    """Predict the next character of English prose from the `context` characters before it.

    The text is Python's own reference manual as the standard library carries it (`pydoc_data.topics`, some 460,000
    characters, a little different in every Python version). Each character is embedded in 24 dimensions; the
    embeddings of the window, concatenated, go through one hidden layer of 128 relu units to 96 logits (113,120
    parameters at the default context). The first nine tenths are for training; `evaluate` reads 2,048 windows spread
    evenly over the last tenth. The loss is in nats per character, log(96) = 4.56 for a uniform guess. The same call
    gives the same object.

    Args:
      batch_size: windows per batch, drawn with replacement.
      context: characters before the one to predict.

    Returns:
      A `Problem`. A batch is `(windows, next_characters)`: int32 `(batch_size, context)` and `(batch_size,)`,
      indices into `lrx.problems.text.ALPHABET`.

    Raises:
      ValueError: if the context is longer than the validation text.

    Examples:
      >>> import jax
      >>> windows, following = text(batch_size=8, context=16).sample(jax.random.key(0))
      >>> windows.shape, following.shape
      ((8, 16), (8,))

    References:
      Y. Bengio et al., "A Neural Probabilistic Language Model", JMLR 3, 2003.
    """
    check.positive_count(batch_size=batch_size, context=context)
    _, validation = _data()
    if context >= len(validation):
        raise check.fail("context", f"must be less than the {len(validation)} validation characters", context)
    return _text(int(batch_size), int(context))


text.ALPHABET = ALPHABET  # type: ignore[attr-defined]  # `lrx.problems.text` is the function, which hides this module


@functools.cache
def _text(batch_size: int, context: int) -> Problem:
    train, validation = on_device(*_data())

    def windows(characters: jax.Array, starts: jax.Array) -> Arrays:
        rows = characters[starts[:, None] + jnp.arange(context + 1, dtype=jnp.int32)]
        return rows[:, :-1], rows[:, -1]

    def sample(key: jax.Array) -> Arrays:
        return windows(train, jax.random.randint(key, (batch_size,), 0, len(train) - context, jnp.int32))

    def init(key: jax.Array) -> dict[str, Any]:
        embedding_key, hidden_key, output_key = jax.random.split(key, 3)
        return {
            "embedding": jax.random.normal(embedding_key, (len(ALPHABET), EMBEDDING), jnp.float32),
            "mlp": {
                "dense_0": dense_init(hidden_key, context * EMBEDDING, HIDDEN),
                "dense_1": dense_init(output_key, HIDDEN, len(ALPHABET)),
            },
        }

    def predict(params: dict[str, Any], x: jax.Array) -> jax.Array:
        return mlp(params["mlp"], params["embedding"][x].reshape(len(x), context * EMBEDDING))

    starts = np.linspace(0, len(validation) - context - 1, VALIDATION_WINDOWS).astype(np.int32)
    with jax.ensure_compile_time_eval():
        held_out = windows(validation, jnp.asarray(starts))
    return classification("text", init, predict, sample, held_out)


@functools.cache
def _data() -> tuple[np.ndarray, np.ndarray]:
    """Training and validation text as indices into the alphabet."""
    from pydoc_data.topics import topics  # half a megabyte, read when asked for

    index = {character: i for i, character in enumerate(ALPHABET)}
    prose = "\n".join(topics[name] for name in sorted(topics))
    characters = np.array([index[c] for c in prose if c in index], np.int32)
    end = len(characters) * 9 // 10
    return characters[:end], characters[end:]
