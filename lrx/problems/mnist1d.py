"""MNIST-1D."""

import functools
import random

import numpy as np

from .. import _check as check
from ._problem import Problem
from ._supervised import classification, draw_rows, mlp, mlp_init, on_device


@check.public
def mnist1d(batch_size: int = 64) -> Problem:
    """Classify one-dimensional digits: as small as `digits`, and harder.

    A 40-64-64-10 relu network (7,434 parameters, He initialisation) on the 5,000 signals that the mnist1d package
    generates with its default settings (about a second, once per process, no download): 4,000 to train on and 1,000
    held out for `evaluate`. The loss is the cross entropy in nats. The same call gives the same object.

    Args:
      batch_size: signals per batch, drawn with replacement.

    Returns:
      A `Problem`. A batch is `(signals, labels)`: float32 `(batch_size, 40)` and int32 `(batch_size,)`.

    Raises:
      ImportError: if the mnist1d package is not installed.

    Examples:
      >>> import jax
      >>> problem = mnist1d()  # doctest: +SKIP
      >>> signals, labels = problem.sample(jax.random.key(0))  # doctest: +SKIP
      >>> signals.shape  # doctest: +SKIP
      (64, 40)

    References:
      S. Greydanus and D. Kobak, "Scaling Down Deep Learning with MNIST-1D", arXiv:2011.14439.
    """
    check.positive_count(batch_size=batch_size)
    return _mnist1d(int(batch_size))


@functools.cache
def _mnist1d(batch_size: int) -> Problem:
    train, validation = _data()
    sample = draw_rows(on_device(*train), batch_size)
    return classification("mnist1d", mlp_init((40, 64, 64, 10)), mlp, sample, on_device(*validation))


@functools.cache
def _data() -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    try:
        from mnist1d.data import make_dataset
    except ModuleNotFoundError as error:
        raise ImportError("mnist1d() needs the package that generates its data: pip install mnist1d") from error
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:  # the generator seeds both global streams, which are the caller's
        data = make_dataset()
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
    return (data["x"], data["y"]), (data["x_test"], data["y_test"])
