"""Schedules: learning rates as pure functions of the number of updates completed, one family a file.

Those that optax has keep its names, arguments and values. Where they differ, on purpose:

* The result is always a float32 array in the shape of the count; a count may be an array. A negative count is 0, and
  one beyond int32 is 2³¹ − 1.
* Bad input is an error, where optax writes a log line and returns a constant: lengths that are negative, or 0 where a
  phase cannot be skipped; a decay rate of 0; a share outside [0, 1]; anything that is not finite.
* A phase of no steps is skipped, and its end value holds: `linear_schedule`, `polynomial_schedule` and
  `warmup_constant_schedule` of 0 steps give the end value, where optax gives the initial value for ever.
* The end is exact: a polynomial of power 0 is at its end value there (0⁰ is not 1), and `warmup_cosine_decay_schedule`
  ends at `end_value` when the peak is 0, too.
* `join_schedules` takes exactly one boundary fewer than schedules, in order; optax drops a schedule too many. A part
  whose turn it is not is evaluated at its own count 0, so that it cannot make a gradient NaN.
* One cycle keeps its turns apart, where optax keys a dict by step: in one to three steps it is finite, takes its peak
  and ends at its last value. A turn that is a whole number but for rounding is that number: 0.29 of 100 steps are 29,
  where optax truncates the float64 product to 28.
"""
