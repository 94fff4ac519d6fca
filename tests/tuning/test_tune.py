import json

import numpy as np
import pytest

import lrx
from tests.tuning.bowl import bowl, validated

OWN = {"mine": lrx.sgd}


@pytest.fixture(scope="module")
def tuned():
    stages = []
    result = lrx.tune(validated(), budget=None, steps=40, seeds=2, progress=lambda *told: stages.append(told))
    return result, stages


def test_every_family_is_tried_at_its_own_rate(tuned):
    result, _ = tuned
    tried = {(row.optimizer, row.schedule) for row in result.table}
    adam = {("adam", s) for s in ("constant", "step", "cosine", "linear", "exponential", "triangular", "cyclic")}
    assert adam <= tried
    assert {o for o, _ in tried} == {"adam", "sgd", "adagrad", "rmsprop"}
    assert result.sweeps["adam"][0].losses.shape == (16, 4, 2, 40)


def test_the_table_is_ranked_by_the_loss_that_decides(tuned):
    result, _ = tuned
    assert result.by == "validation"
    losses = [row.validation.mean for row in result.table]
    assert losses == sorted(losses)
    assert (result.optimizer, result.schedule_name) == (result.table[0].optimizer, result.table[0].schedule)
    assert result.learning_rate == result.table[0].learning_rate


def test_a_row_holds_what_the_sweep_measured(tuned):
    result, _ = tuned
    row = next(r for r in result.table if (r.optimizer, r.schedule) == ("adam", "cosine"))
    sweep = result.sweeps["adam"][0]
    best = sweep.best("validation", "cosine")
    assert row.learning_rate == best.learning_rate
    assert row.training.mean == pytest.approx(float(sweep.final[best.index].mean()))
    assert row.training.spread == pytest.approx(float(sweep.final[best.index].std()))
    assert row.at_edge == (best.index[0] in (0, 15))


def test_the_choice_is_retrained_and_compared_on_fresh_seeds(tuned):
    result, _ = tuned
    assert result.retrained.learning_rate == result.learning_rate
    assert (result.baseline.optimizer, result.baseline.schedule) == ("adam", "constant")
    assert result.baseline.learning_rate == np.float32(1e-3)
    chosen, baseline = result.confirmation["chosen"], result.confirmation["baseline"]
    np.testing.assert_array_equal(chosen.losses[..., 0], baseline.losses[..., 0])  # the same fresh starts
    assert not np.isin(chosen.losses[..., 0], result.sweeps["adam"][0].losses[..., 0]).any()


def test_the_interval_holds_the_choice(tuned):
    result, _ = tuned
    low, high = result.interval
    assert low <= result.learning_rate <= high


def test_the_schedule_has_the_chosen_peak_and_goes_through_json(tuned):
    result, _ = tuned
    assert max(result.schedule(np.arange(40))) == pytest.approx(result.learning_rate, rel=1e-6)
    assert lrx.from_json(json.dumps(json.loads(result.schedule.to_json()))) == result.schedule
    assert result.transformation().init(np.zeros(2))


def test_rates_are_told_in_three_digits(tuned):
    result, _ = tuned
    for rate in result.sweeps["adam"][0].learning_rates:
        assert np.float32(f"{rate:.3g}") == rate


def test_a_baseline_that_diverges_is_told_not_raised(monkeypatch):
    monkeypatch.setattr("lrx.tuning._tune_all.BASELINE_RATE", 1e38)
    result = lrx.tune(
        bowl(), budget=None, optimizers=OWN, schedules="constant", learning_rates=[0.1, 0.5], steps=20, seeds=1
    )
    assert result.baseline.verdict == "diverging"
    assert not np.isfinite(result.baseline.training.mean)


def test_a_loss_that_is_never_finite_is_told():
    problem = lrx.Problem(
        init=lambda key: np.zeros(2, np.float32),
        loss=lambda params, batch, key=None: np.nan * params.sum(),
        sample=lambda key: np.zeros(()),
    )
    with pytest.raises(ValueError, match="must have a finite loss before the first update"):
        lrx.tune(problem, budget=None, steps=10, seeds=1)


def test_progress_tells_the_stages(tuned):
    result, stages = tuned
    names = list(dict.fromkeys(stage for stage, _, _ in stages))
    assert names[0] == "adam: short runs" and names[1].startswith("adam: constant")
    assert names[-2:] == ["retraining", "baseline"]
    last = {stage: (done, total) for stage, done, total in stages}
    short = [last.pop(name) for name in names if name.endswith(": short runs")]
    assert len(short) == 4 and all(0 < done <= total == 250 for done, total in short)
    assert all(done == total for done, total in last.values())
    whole = sum(total for _, total in last.values()) / result.steps
    sweeps = [s for some in result.sweeps.values() for s in some] + list(result.confirmation.values())
    assert whole == sum(s.final.size for s in sweeps)
    assert 0 < result.runs - whole <= 4 * 250 / result.steps  # the short runs of four optimizers


def test_names_and_own_functions_choose():
    result = lrx.tune(
        bowl(), budget=None, optimizers=OWN, schedules=["cosine"], learning_rates=[0.1, 0.5], steps=20, seeds=1
    )
    assert [(r.optimizer, r.schedule) for r in result.table] == [("mine", "cosine")]
    assert result.by == "training"
    assert result.table[0].validation is None


def test_schedules_outside_the_main_ones_alone():
    result = lrx.tune(bowl(), budget=None, optimizers="sgd", schedules="triangular", steps=20, seeds=1)
    assert result.schedule_name == "triangular"
    assert len(result.sweeps["sgd"][0].learning_rates) == 16


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (
            dict(optimizers=["adm"]),
            r"tune\(optimizers=...\) must be among adam, sgd, adagrad, rmsprop, adamw, got 'adm'.",
        ),
        (dict(schedules=[]), r"tune\(schedules=...\) must name at least one"),
        (dict(steps=0), r"tune\(steps=...\) must be positive, got 0."),
        (dict(learning_rates=[1e30], optimizers="sgd", steps=20), "no member that stayed finite on every seed"),
    ],
)
def test_wrong_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        lrx.tune(bowl(), budget=None, **kwargs)
