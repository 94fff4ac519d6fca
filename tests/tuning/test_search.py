"""`Search`: asked and told by hand, it is `find`; stopped anywhere and told in any order, it ends the same."""

import copy
import json
import math
import pickle
import random

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrx
from lrx.tuning._shortened import Shortened, midpoints
from tests.operations import by_operations
from tests.tuning.bowl import bowl

BOWL = bowl(0.1)


def made_up(trial, best=0.02, noise=0.05):
    """Losses of a run that is never made: they fall to a parabola in log(rate), and diverge far above the best rate."""
    if trial.learning_rate > 30 * best:
        return np.full(trial.steps, np.nan)
    wobble = np.random.default_rng([trial.seed, trial.id]).standard_normal(trial.steps)
    end = np.exp(0.3 * np.log(trial.learning_rate / best) ** 2) * (1 + noise * wobble / math.sqrt(trial.steps))
    return np.concatenate([[10.0], end])[: trial.steps]


def finished(search, losses=made_up):
    while (trial := search.ask()) is not None:
        search.tell(trial, losses(trial))
    return search


def evidence(search):
    found = search.result
    return found.learning_rate, found.interval, found.doubt, found.gradients


LONGEST = 60
"""Updates of a trial of `Search(steps=200)`, at most."""
rates_of = by_operations(lambda schedule, counts: schedule(counts))


def own_schedule(peak, steps):
    return lambda count: peak * (1 - 0.9 * count / steps)


# ---------------------------------------------------------------- it is the search of `find`


def test_by_hand_it_suggests_what_find_suggests():
    key, tx = jax.random.key(0), lrx.sgd(1.0)

    @jax.jit
    def run(rates, begin, key):
        init_key, data_key = jax.random.split(key, (1, 2))[0]
        params = BOWL.init(init_key)

        def step(carry, x):
            params, state = carry
            rate, t = x
            loss, grads = jax.value_and_grad(BOWL.loss)(params, BOWL.sample(jax.random.fold_in(data_key, t)))
            updates, state = tx.update(grads, lrx.with_hyperparams(state, learning_rate=rate), params)
            return (lrx.apply_updates(params, updates), state), loss

        return jax.lax.scan(step, (params, tx.init(params)), (rates, begin + np.arange(LONGEST)))[1]

    def losses(trial):
        begin = {0: 0, 1: 8, 2: 24}[trial.round]  # where `find` is in its stream of batches
        rates, start = rates_of(trial.schedule, np.arange(LONGEST)), jax.random.fold_in(key, trial.round)
        return run(rates, begin, start)[: trial.steps]

    search = finished(lrx.Search(steps=200), losses)
    found = lrx.find(BOWL, lrx.sgd, steps=200, key=key)
    assert search.result.learning_rate == pytest.approx(found.learning_rate, rel=1e-5)
    assert search.result.interval == pytest.approx(found.interval, rel=1e-5)
    assert search.cost == found.gradients == search.result.gradients
    assert search.result.doubt == found.doubt == ""
    for ours, theirs in zip(search.result.rounds, found.rounds, strict=True):
        np.testing.assert_allclose(ours.losses, theirs.losses, rtol=1e-5)


def test_trials_of_a_round_start_alike_and_rounds_and_searches_do_not():
    seeds = set()
    for seed in (0, 1):
        trials = []
        finished(lrx.Search(steps=1000, seed=seed), lambda t, trials=trials: trials.append(t) or made_up(t))
        assert [t.id for t in trials] == list(range(12))
        assert [t.round for t in trials] == [0] * 6 + [1] * 3 + [2] * 3
        starts = {(t.round, t.seed, t.steps) for t in trials}
        assert len(starts) == 3
        seeds |= {seed for _, seed, _ in starts}
    assert len(seeds) == 6
    assert all(0 <= seed < 2**31 for seed in seeds)


@pytest.mark.parametrize("steps", [1, 2, 7, 30, 100, 1000, 20_000])
def test_the_cost_is_within_the_budget_and_no_trial_is_longer_than_the_training(steps):
    lengths = []
    search = finished(lrx.Search(steps=steps), lambda t: lengths.append(t.steps) or made_up(t))
    assert max(lengths) <= steps
    assert search.cost == sum(lengths) <= max(250, steps // 4)
    assert search.ask() is None and search.done
    assert search.result.learning_rate > 0


# ---------------------------------------------------------------- any order, any stop


@pytest.mark.parametrize("seed", range(40))
def test_told_in_any_order_and_stopped_anywhere_it_ends_at_the_same_suggestion(seed):
    chance = random.Random(seed)
    best = 10 ** chance.uniform(-5.5, 0.5)
    arguments = dict(steps=chance.choice([90, 1000, 4000]), schedule=chance.choice([None, "cosine"]), seed=seed)

    def losses(trial):
        return made_up(trial, best)

    plain = evidence(finished(lrx.Search(**arguments), losses))
    search, out, late = lrx.Search(**arguments), [], []
    text = search.to_json()
    while not search.done:
        what = chance.random()
        if what < 0.1:  # killed: those that were out may still come, or never
            late += [t for t in out if chance.random() < 0.3]
            search, out = lrx.Search.from_json(text), []
        elif what < 0.5 or not out + late:
            if len(out) < 5:
                out.append(search.ask())
        else:
            trials = late if late and (not out or chance.random() < 0.2) else out
            trial = trials.pop(chance.randrange(len(trials)))
            search.tell(trial if chance.random() < 0.5 else trial.id, losses(trial))
            text = search.to_json()
    assert evidence(search) == plain
    assert evidence(lrx.Search.from_json(text)) == plain
    assert search.ask() is None


def test_a_trial_that_is_out_is_given_again_when_the_round_waits_for_it():
    search = lrx.Search(steps=1000)
    first = [search.ask() for _ in range(6)]
    assert len({t.id for t in first}) == 6
    search.tell(first[3], made_up(first[3]))
    again = [search.ask() for _ in range(5)]
    assert again == [t for t in first if t.id != 3]
    before = search.cost
    search.tell(first[0], made_up(first[0]))
    search.tell(again[0], np.full(again[0].steps, 7.0))  # the first counts
    assert search.cost == before + first[0].steps
    with pytest.raises(ValueError, match=r"tell\(trial=...\) must not have been told before, got 3"):
        search.tell(first[3], made_up(first[3]))


def test_json_is_short_and_holds_no_losses():
    search = finished(lrx.Search(steps=100_000))
    text = search.to_json()
    assert len(text) < 4000
    json.loads(text, parse_constant=lambda x: pytest.fail(f"{x} is not JSON"))
    again = lrx.Search.from_json(text)
    assert again.to_json() == text
    half = lrx.Search(steps=1000)
    half.tell(half.ask(), math.nan)
    half.ask()
    assert lrx.Search.from_json(half.to_json()).to_json() == half.to_json()
    assert evidence(again) == evidence(search)
    assert (again.cost, again.done, again.ask()) == (search.cost, True, None)


def test_pickles_and_copies_are_searches_of_their_own():
    search = lrx.Search(steps=1000, schedule=lrx.cosine_decay_schedule(1.0, 1000))
    trial = search.ask()
    for again in (pickle.loads(pickle.dumps(search)), copy.deepcopy(search)):
        again.tell(trial, made_up(trial))
        assert (again.cost, search.cost) == (trial.steps, 0)


# ---------------------------------------------------------------- schedules


@pytest.mark.parametrize(("steps", "whole"), [(1, 1), (3, 1000), (7, 7), (40, 999), (8, 2**31 - 1), (10**6, 2**31 - 1)])
def test_a_shortened_schedule_is_the_whole_one_at_the_midpoints(steps, whole):
    schedule = by_operations(Shortened(lrx.as_schedule(lambda count: count), steps, whole))
    counts = np.linspace(0, steps - 1, 50).astype(np.int64)
    expected = np.float32([(2 * int(c) + 1) * whole // (2 * steps) for c in counts])
    np.testing.assert_array_equal(schedule(counts.astype(np.int32)), expected)
    np.testing.assert_array_equal(
        midpoints(steps, whole)[counts], [(2 * int(c) + 1) * whole // (2 * steps) for c in counts]
    )
    assert schedule(counts.astype(np.int32) + 1)[-1] == expected[-1]  # after the end


def test_landmarks_of_a_shortened_schedule():
    base = lrx.warmup_linear_schedule(1.0, 50, total_steps=1000)
    short = Shortened(base, 20, 1000)
    assert short.landmarks() == {"warmup_end": 1, "peak": 1, "end": 20}
    assert rates_of(short, np.int32(1)) == rates_of(base, np.int32(75))


def test_a_schedule_of_ones_own_reaches_the_rate_of_the_trial():
    for schedule in ("cosine", lrx.warmup_cosine_decay_schedule(0.0, 3e-4, 100, 1000), own_schedule, lambda p, n: p):
        trial = lrx.Search(steps=1000, schedule=schedule).ask()
        rates = rates_of(trial.schedule, np.arange(trial.steps))
        assert 0.6 * trial.learning_rate < rates.max() <= trial.learning_rate * (1 + 1e-6)
        tx = optax.sgd(trial.schedule)
        assert tx.init({"w": jnp.ones(2)}) is not None


def test_a_function_is_given_again():
    search = lrx.Search(steps=1000, schedule=own_schedule)
    trial, text = search.ask(), search.to_json()
    with pytest.raises(ValueError, match=r"from_json\(schedule=...\) must be given again.*'own_schedule'"):
        lrx.Search.from_json(text)
    assert lrx.Search.from_json(text, schedule=own_schedule).ask() == trial
    with pytest.raises(ValueError, match=r"from_json\(schedule=...\) must be None"):
        lrx.Search.from_json(lrx.Search(steps=10).to_json(), schedule=own_schedule)
    again = lrx.Search(steps=1000, schedule=lrx.cosine_decay_schedule(0.1, 1000))
    assert lrx.Search.from_json(again.to_json()).ask() == again.ask()


# ---------------------------------------------------------------- runs that fail


@pytest.mark.parametrize("failed", [math.nan, math.inf, np.float32("nan"), jnp.nan, [1.0, math.nan], [10.0, 1.0, 90.0]])
def test_runs_that_fail_count_as_diverged(failed):
    search = finished(lrx.Search(steps=1000), lambda t: failed if t.learning_rate > 0.05 else made_up(t, 0.01))
    assert search.result.learning_rate < 0.05
    assert np.isinf(search.result.rounds[0].losses[-1])
    assert search.result.confident, search.result.doubt


def test_runs_that_are_cut_short_are_left_out_and_told():
    search = finished(lrx.Search(steps=1000), lambda t: made_up(t)[:3] if t.id in (2, 8) else made_up(t))
    found = search.result
    assert found.doubt == "some of the runs were cut short" and not found.confident
    assert [len(r.learning_rates) for r in found.rounds] == [5, 3, 3]  # one more where the edge was the best
    assert search.cost == found.gradients < 246
    assert abs(math.log(found.learning_rate / 0.02)) < 1


def test_all_that_may_be_said_before_the_end():
    search = lrx.Search(steps=1000)
    with pytest.raises(ValueError, match=r"Search.result needs a trial that stayed finite, and none has been told yet"):
        _ = search.result
    trial = search.ask()
    search.tell(trial, made_up(trial))
    assert "the search is not done" in search.result.doubt
    assert search.result.learning_rate == pytest.approx(trial.learning_rate, rel=0.2)


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        (lambda t: math.nan, r"Search\(start=...\) must be lower: no trial stayed finite"),
        (lambda t: [], r"Search.result needs trials that were not cut short"),
        (lambda t: [1.0], r"Search.result needs trials that were not cut short"),
    ],
)
def test_nothing_to_go_by_ends_with_one_error(losses, message):
    search = finished(lrx.Search(steps=1000), losses)
    assert search.done
    with pytest.raises(ValueError, match=message):
        _ = search.result


# ---------------------------------------------------------------- losses of any kind


@pytest.mark.parametrize(
    "kind",
    [
        jnp.asarray,
        lambda x: jnp.asarray(x, jnp.bfloat16),
        lambda x: x.astype(np.float16),
        np.ndarray.tolist,
        lambda x: [jnp.float32(y) for y in x],
        lambda x: tuple(map(np.float64, x)),
        lambda x: np.round(100 * x).astype(np.int32),
    ],
)
def test_losses_of_any_dtype(kind):
    rate = evidence(finished(lrx.Search(steps=1000)))[0]
    told = finished(lrx.Search(steps=1000), lambda t: kind(made_up(t)) if np.isfinite(made_up(t)).all() else math.nan)
    assert told.result.learning_rate == pytest.approx(rate, rel=0.1)


# ---------------------------------------------------------------- wrong arguments


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        (dict(steps=0), ValueError, r"Search\(steps=...\) must be positive, got 0"),
        (dict(steps=2.5), TypeError, r"Search\(steps=...\) must"),
        (dict(optimizer=lrx.adam), TypeError, r"Search\(optimizer=...\) must be a name"),
        (dict(schedule="cosin"), ValueError, r"Search\(schedule=...\) must be one of 'constant'"),
        (dict(schedule=3), TypeError, r"Search\(schedule=...\) must"),
        (
            dict(schedule=lrx.constant_schedule(0.0)),
            ValueError,
            r"Search\(schedule=...\) must have a finite rate above 0",
        ),
        (dict(schedule=lambda p, n: -p), ValueError, r"Search\(schedule=...\) must give rates that are finite"),
        (dict(budget=0.01), ValueError, r"Search\(budget=...\) must be at least 0.072 for 1000 steps, got 0.01"),
        (dict(budget=math.nan), ValueError, r"Search\(budget=...\) must be finite, got nan"),
        (dict(start=0.0), ValueError, r"Search\(start=...\) must be positive, got 0.0"),
        (dict(start=1.0, stop=0.1), ValueError, r"Search\(start=...\) must be less than stop"),
        (dict(seed=-1), ValueError, r"Search\(seed=...\) must not be negative, got -1"),
    ],
)
def test_wrong_arguments(kwargs, error, message):
    with pytest.raises(error, match=message):
        lrx.Search(**{"steps": 1000, **kwargs})


def test_wrong_tells_are_one_error_and_change_nothing():
    search = lrx.Search(steps=1000)
    trial, before = search.ask(), search.to_json()
    other = finished(lrx.Search(steps=1000, start=1e-2, stop=2.0, seed=5), lambda t: made_up(t)).ask
    assert other() is None
    stranger = lrx.Search(steps=1000, start=1e-2, stop=2.0).ask()
    good = made_up(trial)
    for wrong, losses, error, message in (
        (5, good, ValueError, r"tell\(trial=...\) must have been asked for, got 5"),
        (-1, good, ValueError, r"tell\(trial=...\) must have been asked for, got -1"),
        (99, good, ValueError, r"tell\(trial=...\) must have been asked for, got 99"),
        (stranger, good, ValueError, r"tell\(trial=...\) must be of this search"),
        ("0", good, TypeError, r"tell\(trial=...\) must be a Trial or its id, got '0'"),
        (None, good, TypeError, r"tell\(trial=...\) must be a Trial or its id, got None"),
        (True, good, TypeError, r"tell\(trial=...\) must be a Trial or its id, got True"),
        (trial, 0.5, ValueError, r"tell\(losses=...\) must be the loss before each update, or float\('nan'\)"),
        (
            trial,
            np.ones(trial.steps + 1),
            ValueError,
            r"tell\(losses=...\) must have at most the shape \(8,\), got \(9,\)",
        ),
        (trial, np.ones((2, 4)), ValueError, r"tell\(losses=...\) must have at most the shape"),
        (trial, None, TypeError, r"tell\(losses=...\) must be real numbers, got None"),
        (trial, "nan", TypeError, r"tell\(losses=...\) must be real numbers, got 'nan'"),
        (trial, [1.0, None], TypeError, r"tell\(losses=...\) must be real numbers"),
        (trial, [[1.0], [1.0, 2.0]], TypeError, r"tell\(losses=...\) must be real numbers"),
        (trial, np.ones(8, complex), TypeError, r"tell\(losses=...\) must be real numbers"),
        (trial, [True] * 8, TypeError, r"tell\(losses=...\) must be real numbers"),
    ):
        with pytest.raises(error, match=message):
            search.tell(wrong, losses)
        assert search.to_json() == before
    with pytest.raises(TypeError, match=r"tell\(losses=...\) must be numbers, got traced ones"):
        jax.jit(lambda x: search.tell(trial, x))(good)
    search.tell(trial, good)
    assert search.cost == trial.steps


def mutated(x, chance):
    """JSON data with one thing changed somewhere."""
    odd = [None, -1, 0, 1e400, "x", [], {}, 10**400, True, 3.5, [[]]]
    if isinstance(x, dict) and x and chance.random() < 0.9:
        key = chance.choice(sorted(x))
        return (
            {**x, key: mutated(x[key], chance)} if chance.random() < 0.9 else {k: v for k, v in x.items() if k != key}
        )
    if isinstance(x, list) and x and chance.random() < 0.9:
        i = chance.randrange(len(x))
        return [*x[:i], mutated(x[i], chance), *x[i + 1 :]] if chance.random() < 0.8 else x[:i] + x[i + 1 :]
    return chance.choice(odd)


def test_text_from_anywhere_is_a_search_or_a_value_error():
    chance, search = random.Random(0), lrx.Search(steps=1000, schedule=lrx.cosine_decay_schedule(1.0, 1000))
    for _ in range(8):
        trial = search.ask()
        search.tell(trial, made_up(trial))
    data, refused = json.loads(search.to_json()), 0
    for _ in range(300):
        try:
            again = lrx.Search.from_json(json.dumps(mutated(data, chance)))
        except ValueError as error:
            assert "from_json" in str(error) or "decay" in str(error)
            refused += 1
        else:
            lrx.Search.from_json(again.to_json())
            finished(again)
    assert refused > 200
    for text in ("", "{}", "[" * 100_000, "NaN", '{"lrx": 1}', lrx.cosine_decay_schedule(1.0, 10).to_json()):
        with pytest.raises(ValueError, match=r"from_json\(text=...\) must be"):
            lrx.Search.from_json(text)
    with pytest.raises(TypeError, match=r"from_json\(text=...\) must be a string, got None"):
        lrx.Search.from_json(None)


def test_its_repr_says_how_far_it_is():
    search = lrx.Search(steps=1000, optimizer="lion")
    trial = search.ask()
    search.tell(trial, made_up(trial))
    assert repr(search) == "Search(steps=1000, optimizer='lion', round 1 of 3, told=1, cost=8)"
