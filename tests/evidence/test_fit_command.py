"""`lrx fit`: what it prints and writes, and one line for every mistake."""

import numpy as np
import pytest
from typer.testing import CliRunner

import lrx
from lrx.cli import make_app

LAW = lrx.LossLaw("momentum", {"L0": 2.5, "A": 0.66, "alpha": 0.42, "C": 0.5, "horizon": 40.0})


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """Two runs of 400 steps, logged every tenth, and one without learning rates."""
    folder, steps = tmp_path_factory.mktemp("fit"), np.arange(10, 400, 10)
    rates = {"cosine": 1.5e-3 * (1 + np.cos(np.pi * steps / 400)), "constant": np.full(steps.size, 3e-3)}
    for name, values in rates.items():
        table = np.stack([steps, values, LAW.predict(values, steps)], 1)
        np.savetxt(folder / f"{name}.csv", table, delimiter=",", header="step,lr,loss", comments="")
    (folder / "bare.csv").write_text("step,loss\n1,2.0\n2,1.5\n3,1.25\n")
    return folder


def run(*arguments):
    return CliRunner().invoke(make_app(), ["fit", *map(str, arguments)])


def test_it_prints_the_law_and_the_schedule_and_writes_a_report(logs):
    out = logs / "report"
    result = run(logs / "cosine.csv", logs / "constant.csv", "--law", "momentum", "--steps", 200, "--out", out)
    assert result.exit_code == 0, result.output
    assert "momentum law, fitted to 78 losses of 2 runs" in result.output
    assert "L0 2.5, A 0.66, alpha 0.42" in result.output
    for name in ("optimal", "cosine", "linear", "wsd", "interpolated_schedule("):
        assert f"\n{name}" in result.output
    schedule = lrx.from_json((out / "schedule.json").read_text())
    assert schedule(200) == 0
    assert lrx.LossLaw.from_json((out / "law.json").read_text()).predict(0.1, 5).shape == (5,)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("<img") == 2
    assert "Predicted losses after 200 steps" in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["constant.csv"], "LOG must have a run whose learning rate changes"),
        (["bare.csv"], "has no learning rates"),
        (["nothing.csv"], "nothing.csv"),
        (["cosine.csv", "--law", "cube"], "--law: there is no 'cube'"),
        (["cosine.csv", "--steps", "0"], "--steps must be at least 1"),
        (["cosine.csv", "--warmup-steps", "399"], "LOG must have more losses than the 7 parameters"),
    ],
)
def test_a_mistake_is_one_line(logs, arguments, message):
    result = run(logs / arguments[0], *arguments[1:])
    assert result.exit_code == 2
    assert message in result.output
    assert result.output.count("\n") == 1
