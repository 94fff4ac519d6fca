"""Epochs and shares of a run to steps, converted once, at the edge."""

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


@check.public
def share(fraction: float, *, of: int) -> int:
    """A share of a run in updates, such as `warmup_steps=share(0.05, of=total_steps)`.

    ::

      steps = round(fraction · of)

    Args:
      fraction: from 0 to 1.
      of: the updates of the whole, > 0.

    Returns:
      A number of updates.

    Raises:
      TypeError: if `of` is no whole number.
      ValueError: if a number is out of its range.

    Examples:
      >>> import lrx
      >>> total_steps = 10_000
      >>> schedule = lrx.warmup_linear_schedule(1e-3, lrx.share(0.05, of=total_steps), total_steps=total_steps)
      >>> schedule.landmarks()
      {'warmup_end': 500, 'peak': 500, 'end': 10000}
    """
    check.finite(fraction=fraction)
    check.non_negative(fraction=fraction)
    check.at_most_one(fraction=fraction)
    check.positive_count(of=of)
    return round(float(fraction) * int(of))
