"""Losses that no training gives, but a loop may tell: no warning, no exception, and a doubt where it is due."""

import math
import random
import warnings

import ml_dtypes
import numpy as np
import pytest

import lrx
from lrx.tuning._evidence import lowest
from lrx.tuning._round import Round

LARGE = float(np.finfo(np.float64).max)
ODD = (1e300, -1e300, LARGE, -LARGE, 5e-324, -5e-324, 1e-310, 0.0, -0.0, 1.0, -1.0, 1 + 2e-16, 1e-30, 1e30)
ODD_OR_NOT_FINITE = (*ODD, math.inf, -math.inf, math.nan)
DTYPES = (np.float64, np.float64, np.float32, np.float16, ml_dtypes.bfloat16, np.int32)
RANGES = ((1e-7, 10.0), (1e-30, 1e30), (2e-38, 3e38), (1.0, 1.0 + 4e-16), (1.0, 1.001), (1e29, 1e30))


def valley(chance, level, t):
    """A valley whose losses are `level` at its lowest, and ten times as much at the start."""
    depth = 1 + 0.1 * min(abs(math.log(t.learning_rate) + 3), 30) ** 2
    return [min(10 * abs(level), LARGE), *[min(level * depth, LARGE) if level > 0 else level / depth] * (t.steps - 1)]


KINDS = {
    "equal": lambda chance, level, t: [level] * t.steps,
    "by rate": lambda chance, level, t: [chance.choice(ODD_OR_NOT_FINITE)] * t.steps,
    "by step": lambda chance, level, t: chance.choices(ODD_OR_NOT_FINITE, k=t.steps),
    "two levels": lambda chance, level, t: chance.choices((level, 1.0), k=t.steps),
    "start and end": lambda chance, level, t: [chance.choice(ODD_OR_NOT_FINITE)] + [chance.choice(ODD)] * (t.steps - 1),
    "holes": lambda chance, level, t: [chance.choice((math.inf, math.nan, x, x, x)) for x in valley(chance, 1.0, t)],
    "valley": valley,
}


def told(search, kind, chance):
    """Tell a search losses of a kind, some of them short or of a run that failed; what it says on the way."""
    level, dtype = chance.choice(ODD), chance.choice(DTYPES)
    while (trial := search.ask()) is not None:
        losses = np.asarray(KINDS[kind](chance, level, trial), np.float64)
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # the cast is of the test
            losses = losses.astype(dtype)
        luck = chance.random()
        if luck < 0.05:
            search.tell(trial, math.nan)
        else:
            search.tell(trial, losses[: chance.randrange(trial.steps + 1)] if luck < 0.1 else losses)
        if trial.id % 4 == 3 or search.done:
            try:
                yield search.result
            except ValueError as error:
                assert str(error).startswith("Search")  # no trial stayed finite, or all were cut short


@pytest.mark.parametrize("kind", KINDS)
def test_no_warning_no_exception_and_a_doubt(kind):
    answers = 0
    for seed in range(24):
        chance = random.Random(seed)
        start, stop = chance.choice(RANGES)
        steps, budget = chance.choice(((1, 0.25), (20, 0.25), (1000, 0.25), (2**31 - 1, 1e-6)))
        name = chance.choice(("adam", "muon", "unknown"))
        search = lrx.Search(steps=steps, optimizer=name, start=start, stop=stop, budget=budget)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for found in told(search, kind, chance):
                low, high = found.interval
                assert start * (1 - 1e-9) <= found.learning_rate <= stop * (1 + 1e-9)
                assert 0 < low <= found.learning_rate <= high < math.inf
                assert found.doubt or kind == "valley"
                assert found.confident is not bool(found.doubt)
                numbers = [x for r in found.rounds for x in (r.vertex, r.curvature, r.error, r.noise, r.noise_of_one)]
                assert np.isfinite(numbers).all()
                answers += 1
            again = lrx.Search.from_json(search.to_json())
            assert again.to_json() == search.to_json()
            if answers and any(r.finite for r in search._search.rounds):
                assert repr(again.result) == repr(search.result)
    assert answers > 24


def test_two_trials_at_one_rate_show_no_parabola():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for x in ([0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 1e-16, 2e-16]):
            assert lowest(np.array(x), np.linspace(1.0, 1.2, len(x)), 3.0) == (x[0], 0.0)


@pytest.mark.parametrize(
    ("losses", "rugged"),
    [
        ([3.0, 2.0, 1.0, math.inf], False),
        ([math.inf, 1.0, 2.0, 3.0], True),
        ([3.0, math.inf, 2.0, 1.0], True),
        ([3.0, 1.0, 4.5, 9.0], False),
        ([3.0, 1.0, 9.0, 4.5], False),  # the loss before training was 4: both have learned nothing
        ([3.0, 1.0, 9.0, 1.5], True),
        ([1.5, 3.5, 1.0, 2.0], True),
        ([2.0, 2.5, 1.0, 2.0], False),
    ],
)
def test_what_is_no_single_valley(losses, rugged):
    assert Round(8, 10.0 ** np.arange(-3.0, 1.0), np.array(losses), 4.0).rugged is rugged
