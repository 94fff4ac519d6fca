"""Disease progression from ten measurements."""

import functools

import numpy as np

from .. import _check as check
from ._problem import Problem
from ._supervised import draw_rows, mlp, mlp_init, on_device, regression, split


@check.public
def diabetes(batch_size: int = 64) -> Problem:
    """Predict the progression of diabetes from ten measurements: a small, noisy regression.

    A 10-32-1 relu network (385 parameters, He initialisation) on scikit-learn's diabetes data: 354 patients to train
    on and 88 held out for `evaluate`, by a fixed shuffle. Features and target have mean 0 and variance 1 over the
    training patients, so the mean squared error is 1 for a constant guess. The same call gives the same object.

    Args:
      batch_size: patients per batch, drawn with replacement.

    Returns:
      A `Problem`. A batch is `(features, target)`: float32 `(batch_size, 10)` and `(batch_size,)`. `evaluate` gives
      the loss alone.

    Raises:
      ImportError: if scikit-learn is not installed.

    Examples:
      >>> import jax
      >>> problem = diabetes()
      >>> sorted(problem.evaluate(problem.init(jax.random.key(0))))
      ['loss']

    References:
      B. Efron et al., "Least Angle Regression", Annals of Statistics 32, 2004.
    """
    check.positive_count(batch_size=batch_size)
    return _diabetes(int(batch_size))


@functools.cache
def _diabetes(batch_size: int) -> Problem:
    train, validation = _data()
    sample = draw_rows(on_device(*train), batch_size)
    return regression("diabetes", mlp_init((10, 32, 1)), mlp, sample, on_device(*validation))


@functools.cache
def _data() -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    try:
        from sklearn.datasets import load_diabetes
    except ModuleNotFoundError as error:
        raise ImportError('diabetes() needs scikit-learn for its data: pip install "lrx[cli]"') from error
    features, target = load_diabetes(return_X_y=True)
    train, validation = split(np.asarray(features), np.asarray(target), 354)

    def standardised(rows: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        return tuple((a - t.mean(0)) / t.std(0) for a, t in zip(rows, train, strict=True))

    return standardised(train), standardised(validation)
