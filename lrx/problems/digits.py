"""Handwritten digits."""

import functools

import numpy as np

from .. import _check as check
from ._problem import Problem
from ._supervised import classification, draw_rows, mlp, mlp_init, on_device, split


@check.public
def digits(batch_size: int = 64) -> Problem:
    """Classify 8x8 images of handwritten digits with a small network.

    A 64-64-64-10 relu network (8,970 parameters, He initialisation) on scikit-learn's copy of the UCI digits: 1,437
    images to train on and 360 held out for `evaluate`, by a fixed shuffle; pixels in [0, 1]. The loss is the cross
    entropy in nats, log(10) = 2.30 for a uniform guess. The same call gives the same object.

    Args:
      batch_size: images per batch, drawn with replacement.

    Returns:
      A `Problem`. A batch is `(images, labels)`: float32 `(batch_size, 64)` and int32 `(batch_size,)`.

    Raises:
      ImportError: if scikit-learn is not installed.

    Examples:
      >>> import jax
      >>> problem = digits(batch_size=32)
      >>> images, labels = problem.sample(jax.random.key(0))
      >>> images.shape, labels.dtype
      ((32, 64), dtype('int32'))

    References:
      E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998.
    """
    check.positive_count(batch_size=batch_size)
    return _digits(int(batch_size))


@functools.cache
def _digits(batch_size: int) -> Problem:
    train, validation = _data()
    sample = draw_rows(on_device(*train), batch_size)
    return classification("digits", mlp_init((64, 64, 64, 10)), mlp, sample, on_device(*validation))


@functools.cache
def _data() -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        raise ImportError('digits() needs scikit-learn for its data: pip install "lrx[cli]"') from error
    images, labels = load_digits(return_X_y=True)
    return split(images / 16, np.asarray(labels), 1437)
