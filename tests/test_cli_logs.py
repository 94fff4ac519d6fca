"""`lrx diagnose` and `lrx watch`: what they print, their exit codes, and one line for every mistake."""

import itertools
import os
import pathlib
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

import lrx
from lrx.charts import loss_drawing
from lrx.cli import _diagnose, _watch, make_app

REPOSITORY = pathlib.Path(__file__).parents[1]
STEPS = np.arange(300)
RUNS = {
    "too_low": np.exp(-STEPS / 3000),
    "fine": 0.1 + np.exp(-STEPS / 30),
    "diverging": np.concatenate([np.exp(-np.arange(100) / 30), 1.2 ** np.arange(200)]),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with logs, in which the command runs."""
    path = tmp_path_factory.mktemp("logs")
    for name, losses in RUNS.items():
        (path / f"{name}.csv").write_text(
            "step,loss,lr\n" + "".join(f"{i},{x},{0.1 / (i + 1)}\n" for i, x in enumerate(losses))
        )
    (path / "tie.csv").write_text("step,g_loss,d_loss\n0,1,2\n1,2,1\n")
    before = os.getcwd()
    os.chdir(path)
    yield path
    os.chdir(before)


def run(*args):
    return CliRunner().invoke(make_app(), [str(a) for a in args], prog_name="lrx")


# ---------------------------------------------------------------- lrx diagnose


@pytest.mark.parametrize("name", RUNS)
def test_it_prints_the_verdict_the_curve_and_the_correction(name, folder):
    result = run("diagnose", f"{name}.csv")
    verdict = lrx.diagnose(lrx.read_log(f"{name}.csv"))
    assert result.exit_code == _diagnose.CODES[verdict.label] and result.stderr == ""
    lines = result.stdout.splitlines()
    assert lines[0] == f"{name}.csv: 300 losses at steps 0 to 299, learning rates 0.000333 to 0.1"
    assert f"Verdict: {verdict.label}" in lines and verdict.text in lines
    assert loss_drawing(STEPS, RUNS[name]) in result.stdout
    assert lines[-1].startswith("The peak learning rate was 0.1")


def test_every_label_has_an_exit_code_of_its_own(folder, monkeypatch):
    from typing import get_args

    from lrx.diagnosis._verdict import Label

    assert set(get_args(Label)) == set(_diagnose.CODES)
    for label, code in {"fine": 0, "too_low": 3, "oscillating": 4, "diverging": 5, "dead": 6, "unknown": 7}.items():
        verdict = lrx.Diagnosis(label, {}, 1.0, (0.0, np.inf), "Said. And done.")
        monkeypatch.setattr(_diagnose, "diagnose", lambda *args, verdict=verdict, **kwargs: verdict)
        result = run("diagnose", "fine.csv")
        assert result.exit_code == code
        assert "can't be told from this log" in result.stdout.splitlines()[-1]


BOTH = """
import sys
import lrx.cli

for command in (["diagnose", "fine.csv"], ["show", "linear_schedule(0.1, 0.0, 100)"]):
    sys.argv = ["lrx", *command]
    try:
        lrx.cli.main()
    except SystemExit as end:
        print("code", end.code)
"""


def test_a_terminal_without_unicode_gets_signs_that_look_alike(folder):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, "-c", BOTH], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.stderr == "" and "?" not in done.stdout
    *printed, _ = re.split(r"(?m)^code (\d+)$", done.stdout)
    assert len(printed) == 4
    for text, code in zip(printed[::2], printed[1::2], strict=True):
        drawn = [line.partition("|")[2] for line in text.splitlines() if "|" in line]
        assert int(code) in _diagnose.CODES.values()
        assert len(drawn) >= 12 and set("".join(drawn)) == set(" '.:")


def test_a_record_that_is_too_short_is_not_called_good(folder):
    (folder / "short.csv").write_text("step,loss\n0,2.5\n1,2.0\n")
    result = run("diagnose", "short.csv")
    assert result.exit_code == 7 and "does not show" in result.stdout and "Keep it" not in result.stdout
    assert "can't be told from this log" in result.stdout.splitlines()[-1]


def test_the_best_run_is_a_log_or_a_loss(folder):
    fine = lrx.read_log("fine.csv")
    for best in ("fine.csv", "0.1"):
        result = run("diagnose", "too_low.csv", "--best", best)
        expected = lrx.diagnose(lrx.read_log("too_low.csv"), fine if best == "fine.csv" else 0.1)
        assert f"Verdict: {expected.label}" in result.stdout


def test_columns_and_the_period_are_handed_on(folder, monkeypatch):
    seen = {}
    monkeypatch.setattr(
        _diagnose, "diagnose", lambda *a, **k: seen.update(k, losses=a[0].losses) or lrx.diagnose(*a, **k)
    )
    run("diagnose", "tie.csv", "--loss", "d_loss", "--period", "7")
    assert seen["period"] == 7 and seen["losses"].tolist() == [2, 1]
    run("diagnose", "tie.csv", "--loss", "2")
    assert seen["period"] is None and seen["losses"].tolist() == [1, 2]
    assert "learning rate" not in run("diagnose", "fine.csv", "--learning-rate", "none").stdout.splitlines()[0]


def test_the_epochs_of_the_log_are_the_period(folder, monkeypatch):
    lines = [f"{i},{i / 20},{2 - i / 400}\n" for i in range(100)]
    (folder / "epochs.csv").write_text("step,epoch,loss\n" + "".join(lines))
    seen = {}
    monkeypatch.setattr(_diagnose, "diagnose", lambda *a, **k: seen.update(k) or lrx.diagnose(*a, **k))
    run("diagnose", "epochs.csv")
    assert seen["period"] == 20


def test_the_report_needs_no_other_file(folder):
    (folder / "with<b>.csv").write_text(
        "step,loss,val_loss,lr\n" + "".join(f"{i},{9 / (i + 1)},{10 / (i + 1)},0.1\n" for i in range(80))
    )
    result = run("diagnose", "with<b>.csv", "--best", "fine.csv", "--out", "out/report")
    assert result.stdout.splitlines()[-1] == f"Report: {os.path.join('out', 'report', 'report.html')}"
    page = (folder / "out/report/report.html").read_text(encoding="utf-8")
    assert "with&lt;b&gt;.csv" in page and "with<b>" not in page and "$" not in re.sub(r"base64,[^\"]*", "", page)
    assert page.count("data:image/png;base64") == 2
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert {p.name for p in (folder / "out/report").iterdir()} == {"report.html", "losses.png", "learning_rates.png"}
    verdict = lrx.diagnose(lrx.read_log("with<b>.csv"), lrx.read_log("fine.csv"))
    assert verdict.text.split(". ")[0] in page
    assert all(f"<td>{name.replace('_', ' ')}</td>" in page for name, x in verdict.evidence.items() if not np.isnan(x))


def test_reports_of_runs_of_all_kinds(tmp_path):
    from lrx.logs._report import write_report

    for i, log in enumerate(
        [
            lrx.Log([1.0]),
            lrx.Log([np.nan, np.inf]),
            lrx.Log([-1.0, 5, 1e300, np.nan], [0.0, 0.0, 0.0, 0.0]),
            lrx.Log(np.ones(30_000), np.linspace(1, 0, 30_000)),
        ]
    ):
        assert write_report(log, lrx.diagnose(log), tmp_path / str(i)).exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nothing.csv"], "LOG must be a file or a folder that exists, got 'nothing.csv'."),
        (
            ["tie.csv"],
            "LOG must have one column for the loss, got 'tie.csv': 2 that may be: 'g_loss', 'd_loss'. "
            "Name the column: --loss 'g_loss'.",
        ),
        (
            ["tie.csv", "--loss", "x"],
            "--loss must name a column of tie.csv, got 'x'. It has 'step', 'g_loss', 'd_loss'.",
        ),
        (["fine.csv", "--best", "nan"], "--best must be a log or a finite loss, got 'nan'."),
        (["fine.csv", "--best", "no.csv"], "LOG must be a file or a folder that exists, got 'no.csv'."),
        (["fine.csv", "--period", "0"], "--period must be at least 1, got 0."),
        (["fine.csv", "--out", "fine.csv"], "--out: cannot write into fine.csv: File exists."),
        ([], "Missing argument 'LOG'. See 'lrx diagnose --help'."),
    ],
)
def test_a_mistake_is_one_line(args, message, folder):
    result = run("diagnose", *args)
    assert (result.exit_code, result.stderr) == (2, f"lrx: error: {message}\n")


# ---------------------------------------------------------------- lrx watch


class Script:
    """What happens to a file between two looks at it; Ctrl-C at the end."""

    def __init__(self, monkeypatch, *events):
        self.events, self.waits = list(events), []
        monkeypatch.setattr(_watch.time, "sleep", self.sleep)

    def sleep(self, seconds):
        self.waits.append(seconds)
        if not self.events:
            raise KeyboardInterrupt
        self.events.pop(0)()


def lines_of(losses, start=0):
    return "".join(f"{i},{x}\n" for i, x in enumerate(losses, start))


def test_it_speaks_when_the_verdict_changes(tmp_path, monkeypatch):
    path = tmp_path / "log.csv"

    def append(text):
        def event():
            with path.open("a") as file:
                file.write(text)

        return event

    good = RUNS["fine"]
    Script(
        monkeypatch,
        append("step,loss\n"),
        append(lines_of(good[:100])),
        append(lines_of(good[100:200], 100)),
        append("200,0."),  # half a line
        append("1\n" + lines_of(1.5 ** np.arange(99), 201)),
        lambda: None,
        path.unlink,
        lambda: path.write_text("step,loss\n" + lines_of(good[:50])),
    )
    result = run("watch", path, "--interval", "0.5")
    assert result.exit_code == 130 and result.stderr == ""
    lines = result.stdout.splitlines()
    assert lines[0] == f"{path}: not there yet, waiting"
    assert lines[1].startswith("step 99: ")
    labels = [re.match(r"step \d+: (\w+)( [(]was (\w+)[)])?\. ", line) for line in lines[1:]]
    assert [m[1] for m in labels if m][-2] == "diverging"
    assert "step 49: the log begins anew, after step 299" in lines
    assert all(a != b for a, b in itertools.pairwise(lines))


def test_a_folder_of_events_is_followed(tmp_path, monkeypatch):
    from tensorboardX import SummaryWriter

    def write():
        with SummaryWriter(str(tmp_path / "run")) as writer:
            for i, x in enumerate(RUNS["fine"]):
                writer.add_scalar("loss", x, i)

    Script(monkeypatch, write)
    result = run("watch", tmp_path / "run")
    assert result.exit_code == 130
    assert result.stdout.splitlines()[1].startswith("step 299: ")


def test_a_log_that_cannot_be_read_ends_it(folder, monkeypatch):
    Script(monkeypatch)
    result = run("watch", "tie.csv")
    assert result.exit_code == 2 and result.stderr.startswith("lrx: error: LOG must have one column for the loss")
    assert run("watch", "tie.csv", "--loss", "x").stderr.startswith("lrx: error: --loss must name a column of tie.csv")
    assert run("watch", "fine.csv", "--interval", "0").stderr.startswith("lrx: error: --interval must be positive")


def test_ctrl_c_and_a_pipe(tmp_path):
    """In a process of its own: lines come at once, and SIGINT ends it with 130."""
    (tmp_path / "log.csv").write_text("step,loss\n" + lines_of(RUNS["fine"]))
    command = [sys.executable, "-m", "lrx", "watch", "log.csv", "--interval", "0.05"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        line = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=60)
    assert line.startswith("step 299: ") and rest == "" and errors == ""
    assert process.returncode == 130


def test_in_a_terminal_the_curve_is_drawn_anew(tmp_path):
    from rich.console import Console

    log = lrx.Log(RUNS["fine"], 0.1 / (STEPS + 1))
    console = Console(
        force_terminal=True, width=100, height=40, file=(tmp_path / "out").open("w"), legacy_windows=False
    )
    with _watch._Display(console) as display:
        display.line("step 0: fine.")
        display.show(log, lrx.diagnose(log))
    console.file.close()
    text = (tmp_path / "out").read_text()
    assert text.index("step 0: fine.") < text.index("⠀") and "step 299, loss 0.10005, learning rate 0.0003333" in text


# ---------------------------------------------------------------- the drawing


def test_the_drawing_of_losses_has_lines_of_one_length_and_marks_what_is_not_finite():
    losses = np.where(STEPS % 150 == 140, np.nan, RUNS["fine"])
    marks, *lines = loss_drawing(10 * STEPS, losses, width=30, height=5).splitlines()
    indent = lines[0].index("┤") + 1
    assert [m.start() - indent for m in re.finditer("×", marks)] == [14, 28]
    assert {len(line) for line in lines[:6]} == {indent + 30} and len(lines) == 7
    assert lines[-1].split() == ["0", "2,990", "steps"]
    for column in range(30):
        assert any(line[indent + column] not in "⠀" for line in lines[:5])


def test_drawings_of_few_and_of_strange_losses():
    for losses in ([1.0], [np.nan], [0.0, 0.0], [-1, 1e308, -1e308], [1e-300, 1e300], [np.inf, 1.0]):
        text = loss_drawing(np.arange(len(losses)) + 5, losses, width=10, height=3)
        assert text.count("\n") == 4 + (not np.isfinite(losses).all())
