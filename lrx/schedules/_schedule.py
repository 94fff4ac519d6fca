"""What all schedules have in common: the base class with its operators and questions, and what may stand for one."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from .. import _check as check
from .._numbers import F32, canonical, is_array, is_number
from .._pytree import arguments, is_node, pytree_dataclass, static
from . import _questions, _text
from ._registry import call_of as call_of
from ._registry import factories
from ._registry import schedule_factory as schedule_factory


class Schedule:
    """A learning rate as a pure function of the count of updates completed.

    Subclasses are frozen dataclass pytrees whose fields are the arguments of their factory. Schedules can be combined
    with numbers and with each other: `0.5 * s`, `s / 2`, `s + 0.1`, `1 - s`, `-s`, `s * t`, `s / t`, `s + t`, `s - t`.
    """

    factory: ClassVar[str] = ""
    """The public function that makes the schedule, for errors, `repr` and JSON; by default the class name in snake
    case."""
    renamed: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Pairs (field, argument) where the factory calls a field otherwise."""

    __array_ufunc__ = None  # a NumPy number on the left leaves the operation to the schedule

    def __call__(self, count: Any) -> jax.Array:
        """The rate at `count` (int32, any shape; a float count is a point between two updates), float32."""
        raise NotImplementedError  # the one method of the interface

    def to_json(self) -> str:
        """This schedule as JSON, which `lrx.from_json` reads.

        Raises:
          TypeError: if a part is not one of lrx's schedules (a function, a class of your own) or is traced.
          ValueError: if `lrx.from_json` would refuse a number of it.
        """
        return _text.to_json(self)

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, Schedule):
            return factories["product"](self, other)
        return factories["scale_schedule"](self, other) if is_number(other) else NotImplemented

    def __add__(self, other: Any) -> Any:
        return factories["total"](self, other) if isinstance(other, Schedule) or is_number(other) else NotImplemented

    __rmul__, __radd__ = __mul__, __add__  # only a number can stand on the left of these

    def __neg__(self) -> Any:
        return factories["scale_schedule"](self, -1.0)

    def __sub__(self, other: Any) -> Any:
        if isinstance(other, Schedule):
            return factories["total"](self, -other)
        return factories["total"](self, -_real(other)) if is_number(other) else NotImplemented

    def __rsub__(self, other: Any) -> Any:
        return factories["total"](other, -self) if is_number(other) else NotImplemented

    def __truediv__(self, other: Any) -> Any:
        if isinstance(other, Schedule):
            return factories["quotient"](self, other)
        return factories["scale_schedule"](self, _inverse(other)) if is_number(other) else NotImplemented

    def __rtruediv__(self, other: Any) -> Any:
        return factories["quotient"](other, self) if is_number(other) else NotImplemented

    def marks(self) -> _questions.Marks:
        """Name -> count of the ends of the phases; "end" is where the last change is over, 0 if nothing ever changes.

        A subclass says them here, and `landmarks`, `end`, `integral`, `mean`, `first_below` and `lrx.stretch` rely on
        them. By default there are none: they are never guessed. Counts may be traced. `landmarks` is what to ask.
        """
        return {}

    def call(self) -> dict[str, Any]:
        """The arguments of the call of its factory that makes it, by name, for JSON; by default the fields.

        A subclass whose factory takes other arguments says them here.
        """
        names = dict(self.renamed)
        return {names.get(name, name): x for name, x in arguments(self).items()}

    def landmarks(self) -> dict[str, int]:
        """Where something happens: name -> count, in order.

        "peak" is the first count of the greatest value, "warmup_end" and the like are the ends of phases, "end" is the
        last step of change. Phases of no steps are left out, and so is the peak of a schedule that never stops growing.
        In a combination, a number at the end of a name says which part it belongs to. The peak of a curve without a
        landmark of its own is searched for by sampling.

        Returns:
          Name -> count.

        Raises:
          TypeError: if the schedule is traced.

        Examples:
          >>> import lrx
          >>> lrx.warmup_linear_schedule(1.0, 10, total_steps=100).landmarks()
          {'warmup_end': 10, 'peak': 10, 'end': 100}
        """
        return _questions.landmarks(self)

    @property
    def end(self) -> int | None:
        """The last step of change, or None if there is none: for a constant, a cycle, a decay that never stops.

        Raises:
          TypeError: if the schedule is traced.

        Examples:
          >>> import lrx
          >>> lrx.linear_schedule(1.0, 0.0, transition_steps=4).end
          4
        """
        return _questions.end(self)

    def integral(self, a: int, b: int) -> float:
        """The sum of the rates of the updates from `a` to before `b`.

        ::

          Σ_{t = a}^{b − 1} η(t)

        Up to 2²⁰ rates are added in float64. More are summed by quadrature between landmarks, to about 10⁻⁶ of the
        greatest rate for each update; where that does not settle, as for very many cycles, all are added.

        Args:
          a: the first count.
          b: the count after the last, ≥ `a`.

        Returns:
          The sum.

        Raises:
          ValueError: if `a` is negative or greater than `b`.
          TypeError: if the schedule is traced.

        Examples:
          >>> import lrx
          >>> lrx.linear_schedule(1.0, 0.0, transition_steps=4).integral(0, 4)
          2.5
        """
        return _questions.integral(self, a, b)

    def mean(self, a: int, b: int) -> float:
        """The mean rate of the updates from `a` to before `b`: `integral(a, b) / (b - a)`.

        Args:
          a: the first count.
          b: the count after the last, > `a`.

        Returns:
          The mean.

        Raises:
          ValueError: if `a` is negative or not less than `b`.
          TypeError: if the schedule is traced.

        Examples:
          >>> import lrx
          >>> lrx.linear_schedule(1.0, 0.0, transition_steps=4).mean(0, 5)
          0.5
        """
        return _questions.mean(self, a, b)

    def first_below(self, value: float) -> int | None:
        """The first step of the decay below a value: the first count, from the peak on, whose rate is less.

        So a warmup, which starts below the value, does not count; a schedule that never reaches the value is below it
        from its peak on. The first 2²⁰ counts after the peak are looked at one by one; later ones are sampled between
        landmarks, which is exact where the schedule falls steadily.

        Args:
          value: a rate, rounded to float32 as those of the schedule are.

        Returns:
          The count, or None if there is none.

        Raises:
          ValueError: if `value` is not finite.
          TypeError: if the schedule is traced.

        Examples:
          >>> import lrx
          >>> lrx.warmup_linear_schedule(1.0, 10, total_steps=110).first_below(0.5)
          61
        """
        return _questions.first_below(self, value)


def _real(number: Any) -> Any:
    """A number as a float: an unsigned one could not be negated."""
    return canonical("the number in an operation with a schedule", number, float)


def _inverse(number: Any) -> Any:
    if isinstance(number := _real(number), float) and number == 0:
        raise ValueError("a schedule must not be divided by 0.")
    return 1 / number


# ---------------------------------------------------------------- numbers and functions as schedules


@pytree_dataclass
class FunctionSchedule(Schedule):
    """See `as_schedule`. A function is code, so it is structure; it compares as functions do, by identity."""

    function: Any = static()

    factory = "as_schedule"

    def __call__(self, count: Any) -> jax.Array:
        """`function(count)` in float32."""
        return jnp.asarray(self.function(count)).astype(F32)

    def __repr__(self) -> str:
        return f"as_schedule({self.function!r})"


@check.public
def as_schedule(schedule: Any) -> Any:
    """A schedule from a number, a function of the count, or a schedule.

    Args:
      schedule: a number (a constant rate), a schedule (returned as it is), or any function of the count (int32 []) that
        gives a scalar. A callable pytree of numbers, such as an Equinox module, keeps its numbers as data.

    Returns:
      A schedule.

    Raises:
      TypeError: if it is none of these.

    Examples:
      >>> import lrx
      >>> schedule = lrx.as_schedule(lambda count: 0.5 / (1 + count))
      >>> print(schedule(1))
      0.25
      >>> lrx.as_schedule(0.5)
      constant_schedule(value=0.5)
    """
    return part("schedule", schedule)


def part(argument: str, schedule: Any) -> Any:
    """`as_schedule` of an argument of another factory, which its error names."""
    if is_node(schedule) and callable(schedule):
        return schedule
    if is_number(schedule):
        return factories["constant_schedule"](schedule)
    if not callable(schedule):
        raise TypeError(f"{check.where(argument)} must be a number or a function of the count, got {schedule!r}.")
    leaves = jax.tree.leaves(schedule)
    is_data = leaves and all(is_array(x) or type(x) in (int, float) for x in leaves)
    return schedule if is_data else FunctionSchedule(schedule)


def silent(schedule: Any) -> bool:
    """Whether a schedule, or a part of it, says nothing of its landmarks: a function, or a class without `marks`."""
    if isinstance(schedule, tuple):
        return any(map(silent, schedule))
    if not is_node(schedule):
        return callable(schedule)
    fields = (getattr(schedule, f.name) for f in dataclasses.fields(schedule) if not f.metadata.get("static"))
    return getattr(type(schedule), "marks", Schedule.marks) is Schedule.marks or any(map(silent, fields))
