"""Epochs to steps, converted once, at the edge."""

from .. import _check as check


@check.public
def steps(*, epochs: float, batch_size: int, dataset_size: int, drop_remainder: bool = True) -> int:
    """The number of updates in some epochs.

    ::

      steps = round(epochs · ⌊dataset_size / batch_size⌋)        (⌈·⌉ without `drop_remainder`)

    Args:
      epochs: passes over the data, ≥ 0; may be a fraction.
      batch_size: examples in one update, > 0.
      dataset_size: examples in one epoch, ≥ batch_size if the remainder is dropped.
      drop_remainder: whether the last, smaller batch of an epoch is left out.

    Returns:
      A number of updates.

    Raises:
      ValueError: if a number is out of its range.

    Examples:
      >>> import lrx
      >>> lrx.steps(epochs=10, batch_size=64, dataset_size=50_000)
      7810
    """
    check.finite(epochs=epochs)
    check.non_negative(epochs=epochs)
    check.positive_count(batch_size=batch_size, dataset_size=dataset_size)
    batch_size, dataset_size = int(batch_size), int(dataset_size)
    if drop_remainder and batch_size > dataset_size:
        raise check.fail("batch_size", f"must be at most dataset_size={dataset_size}", batch_size)
    per_epoch = dataset_size // batch_size if drop_remainder else -(-dataset_size // batch_size)
    return round(epochs * per_epoch)
