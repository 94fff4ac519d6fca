"""`Search`: a learning rate for a training loop of the user's own, which asks for short runs and tells their losses."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .. import _check as check
from .._numbers import is_tracer
from ..schedules._schedule import Schedule, as_schedule
from . import _search_text as text_form
from ._evidence import UNKNOWN
from ._find import CHEAPEST, QUARTER, rounded_up
from ._fixed_size import BY_NAME
from ._found import Found, judged
from ._grid import MakeSchedule, learning_rate_of
from ._presets import SCHEDULES, linear
from ._rate_search import ROUNDS, Batch, RateSearch, Told, bounded, initial_of, least, summary
from ._shortened import Shortened


class Trial(NamedTuple):
    """A short run to be made: from a fresh start, `steps` updates at `schedule`."""

    id: int
    """Its number in the search, from 0 on."""
    learning_rate: float
    """The peak of its schedule."""
    steps: int
    """Updates to make."""
    total_steps: int
    """Updates of the training to come."""
    seed: int
    """Of the parameters and of the order of the data, in [0, 2³¹): the same for all trials that are compared."""
    schedule: Any
    """That of the training to come at this peak, gone through in `steps` updates: what the optimizer is given."""
    round: int = 0
    """0, 1 or 2: trials of one round have the same seed and length."""


class Search:
    """Find a learning rate in a training loop of your own, from short runs that the loop makes.

    It is the search of `lrx.find` without the training: it is asked for short runs and told their losses. It holds
    numbers alone, never parameters, so that it does not matter what trains them, where and in how many processes.
    A trial is trained from a fresh start under its own schedule, and what it reports is the training loss before each
    update::

      ask() → Trial → train `steps` updates at `schedule` → tell(trial, losses) → … → result.learning_rate

    Several trials may be out at a time, and be told in any order. Trials of one round start alike (`seed`), and the
    next round follows from all of them. Where a round waits for trials that are out, `ask` gives one of these again, as
    the process that was given it may have been stopped; of a trial that is told twice, the first time counts.

    To go on after a stop, keep the JSON: write `to_json()` to a file after each `tell` and begin with `from_json`. What
    was out then is asked for again, and the suggestion is the one of a search that was not stopped.

    With several processes let each have the search of process 0, and tell each the same losses:

    ::

      text = np.frombuffer(search.to_json().encode().ljust(2**16), np.uint8)
      text = jax.experimental.multihost_utils.broadcast_one_to_all(text)
      search = lrx.Search.from_json(bytes(text).decode())

    Args:
      steps: updates of the training to come.
      optimizer: the name of its optimizer. The best rate of short runs stays that of long ones for "adam", "sgd" and
        the like, and falls with the length for "lion", "muon" and others whose updates have a fixed size; for a
        name that is not known it is expected in between, less surely.
      schedule: its schedule: a name ("constant", "step", "cosine", "linear", "exponential", "triangular", "cyclic"), a
        schedule over `steps` updates, which is scaled to the rate of a trial, or a function of (peak, steps). If None,
        5 % warmup, then linear to zero.
      budget: what the search may cost, in runs of `steps` gradients; a quarter is at least 250 gradients, as in `find`.
      start: the lowest rate to try, > 0.
      stop: the highest.
      seed: a whole number ≥ 0, from which the seeds of the trials are made.

    Raises:
      ValueError: if a number is out of its range, the budget is too small or the name of a schedule is unknown.
      TypeError: if an argument is of the wrong kind.

    Examples:
      A loop of one's own, here gradient descent on a parabola:

      >>> import jax, jax.numpy as jnp, lrx
      >>> search = lrx.Search(steps=1000, optimizer="sgd")
      >>> while (trial := search.ask()) is not None:
      ...     tx, params, losses = lrx.sgd(trial.schedule), jnp.ones(2), []
      ...     state, step = tx.init(params), jax.jit(tx.update)
      ...     for _ in range(trial.steps):
      ...         losses.append(jnp.sum(params**2))
      ...         updates, state = step(2 * params, state, params)
      ...         params = lrx.apply_updates(params, updates)
      ...     search.tell(trial, jnp.stack(losses))
      >>> 0.1 < search.result.learning_rate < 1.0
      True
      >>> search.cost
      246
    """

    def __init__(
        self,
        *,
        steps: int,
        optimizer: str = "adam",
        schedule: str | Schedule | MakeSchedule | None = None,
        budget: float = QUARTER,
        start: float = 1e-7,
        stop: float = 10.0,
        seed: int = 0,
    ):
        with check.calling("Search"):
            check.positive_count(steps=steps)
            if not isinstance(optimizer, str) or not optimizer:
                raise TypeError(f"{check.where('optimizer')} must be a name, got {optimizer!r}.")
            check.finite(budget=budget, start=start, stop=stop)
            check.positive(budget=budget, start=start)
            check.less("start", start, "stop", stop)
            check.non_negative_count(seed=seed)
            self._make = curve_of(schedule, int(steps))
            gradients = int(budget * steps + 1e-6)
            if budget == QUARTER:
                gradients = max(gradients, CHEAPEST)
            if gradients < least(1):
                raise check.fail("budget", f"must be at least {rounded_up(least(1) / steps)} for {steps} steps", budget)
        self.steps, self.optimizer, self.schedule, self.seed = int(steps), optimizer, schedule, int(seed)
        self.budget, self.start, self.stop = float(budget), float(start), float(stop)
        self._search = RateSearch(self.start, self.stop, gradients, 1, self.steps, BY_NAME.get(self.optimizer, UNKNOWN))
        self._asked: list[int] = []
        """How often each trial was asked for, by its number."""
        self._shared: set[int] = set()
        """Trials that may be out although nobody was given them here: those that a text left open."""
        self._open()

    # ---------------------------------------------------------------- asking and telling

    @check.public
    def ask(self) -> Trial | None:
        """The next short run to make, or None when the search is done.

        One that nobody has been given, as long as there is one in the present round; then one that is out, given again.
        """
        if self.done:
            return None
        out = [i for i in range(len(self._asked)) if self._of(i)[2] is None]
        number = min(out, key=lambda i: self._asked[i])
        self._asked[number] += 1
        return self._trial(number)

    @check.public
    def tell(self, trial: Trial | int, losses: Any) -> None:
        """Tell the losses of a trial that was asked for.

        A run has diverged if most of its last losses are not finite; a single batch that was skipped is left out. A run
        that was cut short (fewer losses than its steps) has not come to the end of its schedule and is not compared
        with the others: it is left out, and the result has a doubt; one whose loss had doubled until then, or was not
        finite, counts as diverged.

        Args:
          trial: the trial, or its `id`.
          losses: the training loss before each update, [steps], of any real dtype; `float("nan")` for a run that
            failed.

        Raises:
          TypeError: if it is no trial or id, or the losses are not real numbers.
          ValueError: if the trial was not asked for, belongs to another search, has been told before and was not given
            to anybody again, or there are more losses than steps.
        """
        number = self._number_of(trial)
        batch, place, told = self._of(number)
        new = summary_of(losses, batch)
        if told is not None:
            if self._asked[number] < 2:
                raise check.fail("trial", "must not have been told before", number)
            return  # given to two, of whom the first has come
        if number in self._shared:  # whoever else was given it may still come
            self._asked[number] = max(2, self._asked[number])
        batch.told[place] = new
        self._open()

    @property
    def done(self) -> bool:
        """Whether all trials have been told."""
        return self._search.done

    @property
    def cost(self) -> int:
        """Gradients told so far: the number of losses; a run that failed counts as a whole one."""
        return sum(told.losses for batch in self._search.batches for told in batch.told if told is not None)

    @property
    def result(self) -> Found:
        """The suggestion, as a `Found`. Before the search is done, that of what was told so far, with a doubt.

        Raises:
          ValueError: if nothing was told yet that a suggestion could rest on, or no run stayed finite.
        """
        rounds, doubts = self._search.rounds, []
        if not any(r.finite for r in rounds):
            if not self.done:
                raise ValueError("Search.result needs a trial that stayed finite, and none has been told yet.")
            if not rounds:
                raise ValueError("Search.result needs trials that were not cut short: let them run all their steps.")
            raise ValueError(f"Search(start=...) must be lower: no trial stayed finite, got {self.start!r}.")
        if not self.done:
            doubts.append("the search is not done")
        if self._search.cut_short:
            doubts.append("some of the runs were cut short")
        drift = self._search.drift
        return judged(rounds, self.start, self.stop, self.cost, doubts, whole=self.steps, drift=drift)

    def __repr__(self) -> str:
        told = sum(self._of(i)[2] is not None for i in range(len(self._asked)))
        state = "done" if self.done else f"round {self._search.stage + 1} of {ROUNDS}"
        return f"Search(steps={self.steps}, optimizer={self.optimizer!r}, {state}, told={told}, cost={self.cost})"

    # ---------------------------------------------------------------- as text

    @check.public
    def to_json(self) -> str:
        """The search as JSON: a few kilobytes, whatever is trained.

        A schedule that is a function is not written: give it to `from_json` again.

        Raises:
          TypeError: if a schedule holds code, which JSON cannot.
        """
        names = ("steps", "optimizer", "budget", "start", "stop", "seed")
        return text_form.written({k: getattr(self, k) for k in names}, self.schedule, self._search, self._asked)

    @staticmethod
    def from_json(text: str, *, schedule: MakeSchedule | None = None) -> "Search":
        """The search that `to_json` wrote. What was out is asked for again.

        Args:
          text: JSON. It may come from anywhere: it is only ever read.
          schedule: the function of (peak, steps), if the search was made with one.

        Returns:
          The search.

        Raises:
          ValueError: if the text is not that of a search.
          TypeError: if `text` is not a string.

        Examples:
          >>> import lrx
          >>> search = lrx.Search(steps=1000)
          >>> trial = search.ask()
          >>> again = lrx.Search.from_json(search.to_json())
          >>> again.ask() == trial
          True
        """
        with check.calling("from_json"):
            arguments, batches, asked = text_form.read(text, schedule)
            try:
                search = Search(**arguments)
            except (TypeError, ValueError, OverflowError) as error:
                raise ValueError(f"from_json(text=...) must be a search of lrx's: {error}") from None
            if batches:
                search._search.batches, search._asked = batches, asked
                text_form.check_batches(search._search)
            search._open()
            search._shared = {i for i in range(len(search._asked)) if search._of(i)[2] is None}
        return search

    def __reduce__(self) -> Any:
        return _from_text, (self.to_json(), self.schedule if callable(self.schedule) else None)

    # ---------------------------------------------------------------- inside

    def _open(self) -> None:
        """Plan the trials that follow from what was told."""
        if not self.done:
            self._search.open()
        self._asked += [0] * (sum(len(b.rates) for b in self._search.batches) - len(self._asked))

    def _of(self, number: int) -> tuple[Batch, int, Told | None]:
        """The batch of a trial, its place in it, and what was told of it."""
        place = number
        for batch in self._search.batches:
            if place < len(batch.rates):
                return batch, place, batch.told[place]
            place -= len(batch.rates)
        raise IndexError(number)

    def _trial(self, number: int) -> Trial:
        batch, place, _ = self._of(number)
        rate = float(batch.rates[place])
        whole = as_schedule(learning_rate_of(self._make, rate, self.steps))
        seed = int(np.random.SeedSequence([self.seed, batch.number]).generate_state(1)[0] >> 1)
        schedule = Shortened(whole, batch.steps, self.steps)
        return Trial(number, rate, batch.steps, self.steps, seed, schedule, batch.number)

    def _number_of(self, trial: Any) -> int:
        """The number of a trial that was asked for."""
        number = trial.id if isinstance(trial, Trial) else trial
        if isinstance(number, bool) or not isinstance(number, int | np.integer):
            raise TypeError(f"{check.where('trial')} must be a Trial or its id, got {trial!r}.")
        if not 0 <= number < len(self._asked) or not (self._asked[number] or number in self._shared):
            raise check.fail("trial", "must have been asked for", int(number))
        if isinstance(trial, Trial):
            ours = self._trial(int(number))
            if (trial.learning_rate, trial.steps, trial.seed) != (ours.learning_rate, ours.steps, ours.seed):
                raise check.fail("trial", "must be of this search", trial)
        return int(number)


def _from_text(text: str, schedule: Any) -> Search:
    return Search.from_json(text, schedule=None if isinstance(schedule, Schedule) else schedule)


def curve_of(schedule: Any, steps: int) -> Callable[[Any, int], Any]:
    """The schedule of a training to come, as a function of (peak, steps)."""
    if schedule is None:
        return linear
    if isinstance(schedule, str):
        check.one_of(tuple(SCHEDULES), schedule=schedule)
        return SCHEDULES[schedule]
    if isinstance(schedule, Schedule):
        peak = float(np.max(np.asarray(schedule(np.unique(np.linspace(0, steps - 1, 4096).astype(np.int32))))))
        if not 0 < peak < np.inf:
            raise check.fail("schedule", f"must have a finite rate above 0 within {steps} steps", schedule)
        return lambda rate, _: schedule * (rate / peak)
    made = as_schedule(learning_rate_of(schedule, 0.01, steps))  # says what is wrong with it
    for count in (0, steps - 1):
        value = np.asarray(made(count))
        if value.shape or not np.isfinite(value) or value < 0:
            rule = "must give rates that are finite and not negative"
            raise check.fail("schedule", rule, value.tolist(), f"That is the rate at count {count} for a peak of 0.01.")
    return schedule


def summary_of(losses: Any, batch: Batch) -> Told:
    """What the losses of a run say, which may have failed or have been cut short."""
    x = bounded(_real(losses))
    if not x.ndim:
        if np.isfinite(x):
            rule = "must be the loss before each update, or float('nan') for a run that failed"
            raise check.fail("losses", rule, losses)
        return Told(batch.steps, np.inf, np.nan)
    if x.ndim > 1 or len(x) > batch.steps:
        raise check.fail(
            "losses", f"must have at most the shape ({batch.steps},)", x.shape, "One loss for each update."
        )
    if not len(x):
        return Told(0, None, np.nan)
    if len(x) == batch.steps:
        return summary(x[None], batch.number)
    with np.errstate(invalid="ignore"):
        doubled = not np.isfinite(x[-1]) or x[-max(1, len(x) // 4) :].mean() > 2 * x[0] > 0
    return Told(len(x), np.inf if doubled else None, initial_of(x[None]))


def _real(losses: Any) -> np.ndarray:
    """Losses of any dtype as float64."""
    where = check.where("losses")
    if any(map(is_tracer, jax.tree.leaves(losses))):
        raise TypeError(f"{where} must be numbers, got traced ones. Tell outside of jit, what the steps returned.")
    try:
        x = np.asarray(jax.device_get(losses))
    except ValueError:  # lists of several lengths
        x = np.asarray(None)
    if not (jnp.issubdtype(x.dtype, jnp.floating) or jnp.issubdtype(x.dtype, jnp.integer)):
        if isinstance(losses, list | tuple) and not losses:
            return np.zeros(0)
        raise TypeError(f"{where} must be real numbers, got {losses!r}.")
    return x.astype(np.float64)
