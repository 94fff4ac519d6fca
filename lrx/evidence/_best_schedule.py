"""The schedule of least predicted loss, and the best peaks of the usual ones."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..schedules import _questions
from ..schedules.cosine import cosine_decay_schedule
from ..schedules.knots import interpolated_schedule
from ..schedules.polynomial import linear_schedule
from ..schedules.warmup_cooldown import with_warmup
from ..schedules.wsd import wsd_schedule
from ._drops import SMALLEST
from ._laws import LAWS
from ._robust_fit import on_the_host

KNOTS, CELLS = 64, 1024
"""Rates that are sought, and pieces between which their drops are joined meanwhile."""
PEAKS = np.geomspace(0.02, 1.0, 60)
"""Peaks of the usual schedules, as shares of the greatest."""
COOLDOWNS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
"""Shares of a run over which a WSD schedule may fall."""


class Task(NamedTuple):
    """What a schedule is sought for."""

    law: str
    """Its name."""
    params: np.ndarray
    """Its parameters, float64."""
    warmup_steps: int
    """Updates of the warmup, a line from 0."""
    warmup_sum: float | None
    """The sum of their rates, if it is known."""
    steps: int
    """Updates after the warmup."""
    max_value: float
    """The greatest rate."""
    end_value: float
    """The rate after the last update."""

    def before(self, first: Any) -> Any:
        """The sum of the warmup's rates, of which the next one is `first`."""
        return first * max(self.warmup_steps - 1, 0) / 2 if self.warmup_sum is None else self.warmup_sum


def final_loss(task: Task, params: jax.Array, counts: np.ndarray, rates: Any) -> jax.Array:
    """The predicted loss after the last of `counts`, of a schedule that is a line between them.

    Of each piece, all drops are one, at their mean place: exact where the pieces are single updates.

    Args:
      task: the law's name, the warmup.
      params: its parameters.
      counts: updates since the warmup, increasing from 0, [n].
      rates: the rate at each, [..., n].
    """
    law, size = LAWS[task.law], np.diff(counts)
    left, right = rates[..., :-1], rates[..., 1:]
    area = size * left + (right - left) * (size - 1) / 2
    mean = (size + 1) / (2 * size)  # of the places of a piece's drops
    ahead = jnp.flip(jnp.cumsum(jnp.flip(area, -1), -1), -1)
    rate = jnp.maximum(left + (right - left) * mean, SMALLEST * task.max_value)
    since = jnp.maximum(ahead - area * mean, 0.0)
    gain = law.gain(params, left - right, rate, since, counts[-1] - counts[:-1] - size * mean)
    total = task.before(rates[..., 0]) + ahead[..., 0]
    return params[0] + params[1] * total ** -params[2] - jnp.sum(gain, -1)


def best_schedule(task: Task) -> Any:
    """Rates at knots that never rise, by gradient descent: every knot's drop is a share of the whole.

    From a line and from a plateau with a line at its end; the better one counts.
    """
    from scipy.optimize import minimize

    knots, counts = _knots(task.steps), _cells(task.steps)
    piece = np.clip(np.searchsorted(knots, counts, side="right") - 1, 0, knots.size - 2)
    share = (counts - knots[piece]) / np.diff(knots)[piece]

    def values(z: Any) -> Any:
        """The rate at each knot: what is left of the way from `max_value` to `end_value`."""
        left = jnp.flip(jnp.cumsum(jnp.flip(jax.nn.softmax(z))))
        return task.end_value + (task.max_value - task.end_value) * jnp.append(left[1:], 0.0)

    def loss(z: Any, params: Any) -> Any:
        v = values(z)
        return final_loss(task, params, counts, v[piece] + share * (v[piece + 1] - v[piece]))

    x = knots / task.steps
    starts = [1 - x, np.minimum(1.0, (1 - x) / 0.2)]
    with on_the_host():
        both = jax.jit(jax.value_and_grad(loss))
        params = jnp.asarray(task.params)

        def objective(z: np.ndarray) -> tuple[float, np.ndarray]:
            value, slope = both(jnp.asarray(z), params)
            return 1e3 * float(value), 1e3 * np.asarray(slope)

        options = {"maxiter": 400, "ftol": 1e-10, "gtol": 1e-8}
        found = [
            minimize(objective, np.log(-np.diff(s, prepend=1.02) + 1e-4), jac=True, method="L-BFGS-B", options=options)
            for s in starts
        ]
        rates = np.minimum.accumulate(np.asarray(values(jnp.asarray(min(found, key=lambda f: f.fun).x))))
    rates[-1] = task.end_value
    w = task.warmup_steps
    counts, rates = (knots + w, rates) if not w else (np.append(0, knots + w), np.append(0.0, rates))
    return interpolated_schedule(counts.tolist(), rates.tolist())


def _knots(steps: int) -> np.ndarray:
    """Counts from 0 to `steps`, the closer the nearer to the end."""
    n = min(KNOTS, steps)
    return np.unique(np.round(steps * (1 - (1 - np.arange(n + 1) / n) ** 2))).astype(np.int64)


def _cells(steps: int) -> np.ndarray:
    """Counts from 0 to `steps`, every one if they are few, that include the knots."""
    even = np.linspace(0, steps, min(CELLS, steps) + 1).round()
    return np.unique(np.concatenate([_knots(steps), even])).astype(np.int64)


def exact_loss(task: Task, schedule: Any) -> float:
    """The predicted loss at the end of a schedule that starts with the warmup, from the rates of all updates."""
    rates = _questions.values(schedule, task.warmup_steps + np.arange(task.steps + 1))
    with on_the_host():
        return float(final_loss(task, jnp.asarray(task.params), np.arange(task.steps + 1), jnp.asarray(rates)))


class Usual(NamedTuple):
    """A schedule of a usual shape at its best peak."""

    schedule: Any
    """It, the warmup included."""
    peak: float
    """Its peak."""
    loss: float
    """The predicted loss at its end."""


def usual_schedules(task: Task) -> dict[str, Usual]:
    """Cosine, linear and WSD, each at the peak of least predicted loss; WSD with its best cooldown too."""
    n, w, low = task.steps, task.warmup_steps, task.end_value
    shapes = {
        "cosine": [lambda peak: cosine_decay_schedule(peak, n, low / peak)],
        "linear": [lambda peak: linear_schedule(peak, low, n)],
        "wsd": [
            functools.partial(_wsd, steps=n, decay_steps=max(1, round(f * n)), shape=s, end_value=low)
            for f in COOLDOWNS
            for s in ("linear", "1-sqrt")
        ],
    }
    peaks = np.unique(np.maximum(PEAKS * task.max_value, low + 1e-3 * (task.max_value - low)))
    best, counts = {}, _cells(n)
    with on_the_host():
        losses = jax.jit(lambda params, rates: jax.lax.map(lambda r: final_loss(task, params, counts, r), rates))
        for name, makers in shapes.items():
            tries = []
            for make in makers:
                # between its end value and its peak every shape is a line
                shape = (_questions.values(make(task.max_value), counts) - low) / (task.max_value - low)
                found = np.asarray(losses(jnp.asarray(task.params), low + (peaks[:, None] - low) * shape))
                i = int(np.argmin(found))
                tries.append((float(found[i]), float(peaks[i]), make))
            _, peak, make = min(tries, key=lambda t: t[0])
            schedule = with_warmup(make(peak), w) if w else make(peak)
            best[name] = Usual(schedule, peak, exact_loss(task, schedule))
    return best


def _wsd(peak: float, *, steps: int, decay_steps: int, shape: Any, end_value: float) -> Any:
    return wsd_schedule(peak, 0, decay_steps=decay_steps, total_steps=steps, shape=shape, end_value=end_value)
