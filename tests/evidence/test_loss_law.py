"""Loss laws: against the formula term by term, derivatives, recovery of known laws, the best schedule, bad input."""

import json
import math
import re
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrx
from lrx.evidence._best_schedule import Task, final_loss
from lrx.evidence._drops import drops_of, padded
from lrx.evidence._laws import LAWS
from lrx.evidence._robust_fit import _values, on_the_host, together
from lrx.evidence._runs import run_at
from tests.operations import by_operations
from tests.reference import laws as reference

PARAMS = {
    "multi-power": {"L0": 2.5, "A": 0.66, "alpha": 0.42, "B": 61.0, "C": 0.5, "beta": 0.6, "gamma": 0.55},
    "momentum": {"L0": 2.5, "A": 0.66, "alpha": 0.42, "C": 0.5, "horizon": 40.0},
}
REFERENCE = {"multi-power": reference.multi_power, "momentum": reference.momentum}
PEAK, N = 3e-3, 600
T = np.arange(N)
RATES = {
    "cosine": PEAK * (1 + np.cos(np.pi * T / N)) / 2,
    "constant": np.full(N, PEAK),
    "one drop": np.where(T < 250, PEAK, 0.3 * PEAK),
    "linear to zero": PEAK * np.maximum(1 - T / 500, 0),
    "waves": PEAK * (0.6 + 0.4 * np.cos(T / 30)),
}
every_law = pytest.mark.parametrize("law", PARAMS)


def known(law, **kwargs):
    return lrx.LossLaw(law, PARAMS[law], **kwargs)


@every_law
@pytest.mark.parametrize("rates", RATES.values(), ids=RATES)
def test_predictions_are_those_of_the_formula(law, rates):
    steps = np.array([1, 2, 3, 50, 251, 255, 490, 600])
    got = known(law, warmup_sum=0.2).predict(rates, steps)
    want = [REFERENCE[law](t, rates, 0.2, *PARAMS[law].values()) for t in steps]
    np.testing.assert_allclose(got, want, rtol=2e-8)


@every_law
def test_exponents_far_from_the_papers_keep_seven_digits(law):
    for change in ({"C": 1e-3}, {"C": 300.0}, {"beta": 0.05}, {"beta": 4.0}, {"gamma": 0.01}, {"gamma": 1.6}):
        if not change.keys() <= PARAMS[law].keys():
            continue
        p = PARAMS[law] | change
        got = lrx.LossLaw(law, p).predict(RATES["cosine"], [7, 300, 600])
        want = [REFERENCE[law](t, RATES["cosine"], 0.0, *p.values()) for t in (7, 300, 600)]
        np.testing.assert_allclose(got, want, rtol=1e-6, err_msg=str(change))


def test_the_steps_of_the_warmup_count_by_their_sum_alone():
    schedule = lrx.warmup_cosine_decay_schedule(0.0, PEAK, 100, 600)
    got = known("multi-power", warmup_steps=100).predict(schedule, 600)
    rates = np.asarray(schedule(np.arange(600)), np.float64)
    p = PARAMS["multi-power"].values()
    want = [reference.multi_power(t, rates[100:], rates[:100].sum(), *p) for t in (1, 200, 500)]
    np.testing.assert_allclose(got[[100, 299, 599]], want, rtol=1e-6)
    assert np.all(np.diff(got[:100]) < 0)  # the power of the sum alone


def test_logged_rates_are_joined_by_lines_and_a_missing_warmup_is_a_line_from_zero():
    steps = np.arange(120, 601, 40)
    run = run_at("logs", steps, RATES["cosine"][np.minimum(steps, 599)], 100, None)
    peak = RATES["cosine"][120]
    assert run.rates[50] == pytest.approx(peak / 2)
    np.testing.assert_allclose(run.rates[100:120], peak)
    assert run.warmup_sum == pytest.approx(peak * 99 / 2)
    np.testing.assert_allclose(run.rates[120:560], RATES["cosine"][120:560], atol=0.01 * PEAK)


@every_law
def test_derivatives_are_those_of_finite_differences(law, x64):
    """In float64, through the whole curve."""
    steps = np.array([3, 100, 400, 599])
    drops = padded(drops_of([run_at("logs", steps, r, 0, 0.1) for r in (RATES["cosine"], RATES["one drop"])]))
    x = np.log(list(PARAMS[law].values()))
    loss = jax.jit(lambda x: LAWS[law].losses(LAWS[law].params(x, 0.5), drops))
    _, slope = _values(law, jnp.asarray(x), 0.5, drops)
    for i in range(x.size):
        step = 1e-5 * np.eye(x.size)[i]
        high, low = (np.asarray(loss(jnp.asarray(x + s))) for s in (step, -step))
        np.testing.assert_allclose(np.asarray(slope)[:8, i], (high - low)[:8] / 2e-5, rtol=1e-6, atol=1e-8)


def test_joined_drops_change_a_prediction_by_the_square_of_their_number():
    run = run_at("logs", np.array([150, 300, 450, 600]), RATES["cosine"], 0, 0.1)
    p = jnp.asarray(list(PARAMS["multi-power"].values()))
    losses = by_operations(LAWS["multi-power"].losses)
    with on_the_host():
        exact, fine, coarse = (np.asarray(losses(p, padded(drops_of([run], most))))[:4] for most in (None, 120, 30))
    assert 0 < np.abs(fine - exact).max() < 2e-5
    assert np.abs(coarse - exact).max() < 40 * np.abs(fine - exact).max()


# ---------------------------------------------------------------- fits


@pytest.fixture(scope="module")
def laws():
    """Each law fitted to what it predicts for three runs, logged every tenth step in the three forms of a log."""
    found, steps = {}, np.arange(10, N, 10)
    for law in PARAMS:
        losses = {name: known(law).predict(RATES[name], steps) for name in RATES}
        one_drop = SimpleNamespace(steps=steps, losses=losses["one drop"], learning_rates=RATES["one drop"])
        logs = [(steps, RATES["cosine"], losses["cosine"]), (steps, PEAK, losses["constant"]), one_drop]
        found[law] = lrx.fit_loss_law(logs, law=law)
    return found


@every_law
def test_a_law_is_recovered_from_its_own_losses(laws, law):
    np.testing.assert_allclose(list(laws[law].params.values()), list(PARAMS[law].values()), rtol=1e-2)
    assert laws[law].r2 > 0.999999
    assert laws[law].worst_error < 1e-5


@every_law
def test_a_fitted_law_predicts_runs_that_it_has_not_seen(laws, law):
    np.testing.assert_allclose(laws[law].predict(RATES["waves"], N), known(law).predict(RATES["waves"], N), rtol=1e-4)


def test_exponents_that_the_losses_leave_open_stay_near_a_half():
    """Of one cosine with errors that come in waves: the least sum of squares is at the bound, where beta is 20."""
    steps = np.arange(10, N, 10)
    losses = known("multi-power").predict(RATES["cosine"], steps) * (1 + 1e-3 * np.sin(steps / 30))
    law = lrx.fit_loss_law([(steps, RATES["cosine"], losses)] * 3)  # as long as the runs above: one program
    assert 0.25 < law.params["beta"] < 1
    assert 0.25 < law.params["gamma"] < 1
    assert law.mean_error < 1e-3


@pytest.mark.parametrize("rho", [0.0, 0.8])
def test_losses_that_err_together_count_as_fewer(rho):
    """Of an autoregression it is (1 + ρ) / (1 − ρ); the noise of the correlations adds some more."""
    draw = np.random.default_rng(0).normal(size=(4, 4000)) * 1e-5
    for i in range(1, 4000):
        draw[:, i] += rho * draw[:, i - 1]
    first = np.arange(16000) % 4000 == 0
    assert together(draw.ravel(), first) == pytest.approx((1 + rho) / (1 - rho), rel=0.2)
    assert together(np.zeros(8), np.arange(8) == 0) == 1


def test_one_loss_far_off_moves_no_prediction(laws):
    steps = np.arange(10, N, 10)
    logs = [(steps, RATES[name], known("momentum").predict(RATES[name], steps)) for name in ("cosine", "one drop")]
    logs[0][2][20] *= 1.5
    law = lrx.fit_loss_law(logs, law="momentum")
    assert law.worst_error == pytest.approx(1 / 3, rel=1e-2)
    np.testing.assert_allclose(law.predict(RATES["waves"], N), known("momentum").predict(RATES["waves"], N), rtol=1e-3)


def test_a_law_prints_and_goes_to_json_and_back(laws):
    law = laws["multi-power"]
    assert repr(law).startswith("LossLaw('multi-power', L0=2.5, A=0.66")
    back = lrx.LossLaw.from_json(law.to_json())
    assert (back.params, back.r2, back.runs) == (law.params, law.r2, ())
    np.testing.assert_array_equal(back.predict(0.01, 20), law.predict(0.01, 20))
    for text in ("[]", '{"law": "multi-power"}', json.dumps({"law": "momentum", "params": {"L0": 1}}), '{"law": "x"}'):
        with pytest.raises(ValueError, match=r"from_json\(text=...\)"):
            lrx.LossLaw.from_json(text)


@every_law
def test_a_law_made_by_hand_means_the_same_in_any_order_of_its_parameters(law):
    backwards = lrx.LossLaw(law, dict(reversed(PARAMS[law].items())))
    by_letter = lrx.LossLaw(law, {name: np.float32(PARAMS[law][name]) for name in sorted(PARAMS[law])})
    assert list(backwards.params) == list(by_letter.params) == list(PARAMS[law])
    assert repr(backwards) == repr(known(law))
    want = known(law).predict(RATES["one drop"], [3, 300])
    np.testing.assert_array_equal(backwards.predict(RATES["one drop"], [3, 300]), want)
    np.testing.assert_allclose(by_letter.predict(RATES["one drop"], [3, 300]), want, rtol=1e-6)
    backwards.params["L0"] = backwards.params.pop("L0")  # whoever moves one afterwards changes nothing either
    np.testing.assert_array_equal(backwards.predict(RATES["one drop"], [3, 300]), want)


M, FEW = PARAMS["momentum"], {"L0": 1.0, "alpha": 1.0, "horizon": 9.0}


@pytest.mark.parametrize(
    ("error", "match", "call"),
    [
        (ValueError, "params=...) must have the parameters L0, A, alpha, C, horizon .* Add A, C.$", ("momentum", FEW)),
        (ValueError, "params=...) must have .* Leave out beta.$", ("momentum", M | {"beta": 0.5})),
        (ValueError, "params=...) must have .* Add B, beta, gamma. Leave out horizon.$", ("multi-power", M)),
        (TypeError, "params=...) must be a dict", ("momentum", list(M.values()))),
        (ValueError, "params['A']=...) must be positive and finite, got -1", ("momentum", M | {"A": -1})),
        (ValueError, "params['A']=...) must be positive and finite, got nan", ("momentum", M | {"A": math.nan})),
        (TypeError, "params['A']=...) must be a number, got '1'", ("momentum", M | {"A": "1"})),
        (ValueError, "params['A']=...) must be a scalar", ("momentum", M | {"A": np.ones(2)})),
        (ValueError, "law=...) must be one of 'multi-power', 'momentum', got 'power'", ("power", M)),
        (ValueError, "warmup_steps=...) must not be negative", ("momentum", M, 1.0, 0.0, 0.0, -1)),
        (ValueError, "warmup_sum=...) must be finite", ("momentum", M, 1.0, 0.0, 0.0, 1, math.inf)),
    ],
)
def test_a_law_made_by_hand_says_what_is_wrong_at_once(error, match, call):
    begin, end = match.split("=...)")
    with pytest.raises(error, match="^" + re.escape(f"LossLaw({begin}=...)") + end):
        lrx.LossLaw(*call)


LETTERS = {"L0": 2.0, "A": 0.5, "alpha": 0.5, "C": 1.0, "horizon": 10.0}
LAW = json.loads(lrx.LossLaw("momentum", LETTERS).to_json())


def test_a_law_that_was_not_fitted_is_json_and_its_parameters_have_names():
    assert LAW["r2"] is None
    again = lrx.LossLaw.from_json(json.dumps(LAW | {"params": dict(reversed(LETTERS.items()))}))
    assert list(again.params) == list(LETTERS) and math.isnan(again.r2)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(LAW | {"params": LETTERS | {"A": x}})
        for x in (None, True, "1", {}, [], 0, -1.0, 10**400, math.nan, math.inf)
    ]
    + [json.dumps(LAW | {"r2": {}}), json.dumps(LAW | {"warmup_steps": 1.5}), json.dumps(LAW | {"warmup_sum": -1.0})]
    + [json.dumps(LAW | {"more": 1}), json.dumps(LAW | {"law": []}), "[" * 100_000, "null", json.dumps(LAW)[:-9]]
    + [json.dumps(LAW).replace("0.5", "1e400"), json.dumps(LAW).replace('"r2"', '"law": "momentum", "r2"')],
)
def test_a_hostile_law_is_a_value_error(text):
    with pytest.raises(ValueError, match=r"from_json\(text=...\)"):
        lrx.LossLaw.from_json(text)


def test_the_plot_shows_every_run(laws):
    assert len(laws["momentum"].plot().axes[0].lines) == 7
    with pytest.raises(ValueError, match="at least one run"):
        known("momentum").plot()


# ---------------------------------------------------------------- the best schedule


@pytest.fixture(scope="module")
def best():
    return known("multi-power", warmup_steps=50).compare(300, max_value=PEAK)


def test_the_best_schedule_never_rises_and_keeps_its_bounds(best):
    schedule = best["optimal"].schedule
    values = np.asarray(schedule.values)[1:]
    assert schedule(0) == 0
    assert schedule(300) == 0
    assert np.all(np.diff(values) <= 0)
    assert values[0] <= np.float32(PEAK)
    assert schedule.landmarks()["end"] == 300
    assert lrx.from_json(schedule.to_json()) == schedule


def test_the_best_schedule_is_better_than_the_usual_ones_at_their_best_peaks(best):
    law = known("multi-power", warmup_steps=50)
    assert list(best) == ["optimal", "cosine", "linear", "wsd"]
    for name, prospect in best.items():
        assert prospect.loss == pytest.approx(law.predict(prospect.schedule, [300])[0], rel=2e-5), name
        assert best["optimal"].loss <= prospect.loss
        assert 0 < prospect.peak <= PEAK * 1.0001
    for peak in np.geomspace(0.1, 1, 7) * PEAK:
        cosine = lrx.warmup_cosine_decay_schedule(0.0, peak, 50, 300)
        assert law.predict(cosine, [300])[0] >= best["cosine"].loss * (1 - 2e-5)


def test_the_end_value_is_kept():
    schedule = known("multi-power").optimal_schedule(30, max_value=PEAK, end_value=1e-4)
    assert schedule(30) == np.float32(1e-4)
    assert min(np.asarray(schedule.values)) == np.float32(1e-4)


@every_law
def test_the_loss_at_the_end_and_its_gradient_are_those_of_the_formula(law, x64):
    p = np.array(list(PARAMS[law].values()))
    task = Task(law, p, 0, 0.1, 40, PEAK, 0.0)
    counts, rates = np.arange(41), PEAK * (1 - np.arange(41) / 60)
    loss, slope = by_operations(jax.value_and_grad(lambda r: final_loss(task, jnp.asarray(p), counts, r)))(rates)
    assert float(loss) == pytest.approx(REFERENCE[law](40, rates, 0.1, *p), rel=1e-12)
    for i in (0, 7, 39):
        high, low = (REFERENCE[law](40, rates + s * np.eye(41)[i], 0.1, *p) for s in (1e-8, -1e-8))
        assert slope[i] == pytest.approx((high - low) / 2e-8, rel=1e-4)


# ---------------------------------------------------------------- bad input

FALL, LOSSES = np.linspace(0.1, 0.01, 20), np.linspace(3.0, 2.0, 20)


@pytest.mark.parametrize(
    ("error", "match", "call"),
    [
        (ValueError, "logs=...) must hold at least one run", lambda: lrx.fit_loss_law([])),
        (ValueError, "must have more losses than the 7 parameters", lambda: lrx.fit_loss_law((FALL[:6], LOSSES[:6]))),
        (ValueError, "more losses .* within the warmup", lambda: lrx.fit_loss_law((FALL, LOSSES), warmup_steps=18)),
        (ValueError, "a learning rate for each of the 20 losses, got 19", lambda: lrx.fit_loss_law((FALL[1:], LOSSES))),
        (ValueError, "must have a step for each", lambda: lrx.fit_loss_law(([1, 2], FALL, LOSSES))),
        (ValueError, "one of two numbers", lambda: lrx.fit_loss_law((np.arange(20) * 5, FALL[:9], LOSSES))),
        (ValueError, "steps that increase", lambda: lrx.fit_loss_law((np.ones(20, int), FALL, LOSSES))),
        (ValueError, "finite and positive, got .*nan", lambda: lrx.fit_loss_law((FALL, np.append(LOSSES[1:], np.nan)))),
        (ValueError, "finite and positive, got .*-1", lambda: lrx.fit_loss_law((FALL, -LOSSES / 3))),
        (ValueError, "rate that is positive, got 0", lambda: lrx.fit_loss_law((0 * FALL, LOSSES))),
        (ValueError, "finite and not negative, got -0.1", lambda: lrx.fit_loss_law((-FALL, LOSSES))),
        (ValueError, "finite and not negative, got nan", lambda: lrx.fit_loss_law((FALL * np.nan, LOSSES))),
        (ValueError, "rate changes after the warmup", lambda: lrx.fit_loss_law((0.1, LOSSES))),
        (ValueError, "must be one of 'multi-power', 'momentum'", lambda: lrx.fit_loss_law((FALL, LOSSES), law="x")),
        (TypeError, "must be pairs", lambda: lrx.fit_loss_law("log.csv")),
        (TypeError, "must be pairs", lambda: lrx.fit_loss_law(LOSSES)),
        (ValueError, "warmup_sum=...) must not be negative", lambda: lrx.fit_loss_law((FALL, LOSSES), warmup_sum=-1)),
        (ValueError, "steps=...) must be positive", lambda: known("momentum").predict(0.1, 0)),
        (ValueError, "rates=...) must have learning rates in one", lambda: known("momentum").predict(FALL, 30)),
        (ValueError, "less than max_value", lambda: known("momentum").optimal_schedule(9, max_value=1, end_value=1)),
        (
            ValueError,
            "exceed the warmup",
            lambda: known("momentum", warmup_steps=9).optimal_schedule(10, max_value=1),
        ),
    ],
    ids=lambda x: None,
)
def test_bad_input_is_an_error_that_says_what_is_wrong(error, match, call):
    with pytest.raises(error, match=match.replace("(", r"\(").replace("=...)", r"=\.\.\.\)")):
        call()


def test_a_log_without_rates_is_refused():
    log = SimpleNamespace(steps=None, losses=LOSSES, learning_rates=None)
    with pytest.raises(ValueError, match="learning rates of each run"):
        lrx.fit_loss_law(log)
