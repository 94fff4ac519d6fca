"""The command: what it prints, what it writes, and one line for every mistake."""

import json
import os
import signal
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

import lrx
from lrx.charts import drawing
from lrx.cli import _tune, make_app
from lrx.cli._progress import duration
from lrx.tuning._done import Losses

FILE = """
import jax, jax.numpy as jnp, lrx

def init(key):
    return jnp.ones(2)

def loss(params, batch, key=None):
    return jnp.sum((params - 0.1 * batch) ** 2)

def sample(key):
    return jax.random.normal(key, (2,))

def wrong(params, batch, key=None):
    return jnp.dot(params, jnp.ones(3))

def interrupted(params, batch, key=None):
    raise KeyboardInterrupt

bowl = lrx.Problem(init, loss, sample, name="[red]bowl[/red]")
wrong_shapes = lrx.Problem(init, wrong, sample)
not_scalar = lrx.Problem(init, lambda params, batch, key=None: params, sample)
always_nan = lrx.Problem(init, lambda params, batch, key=None: jnp.sum(params) * jnp.nan, sample)
stopped = lrx.Problem(init, interrupted, sample)
no_scores = lrx.Problem(init, loss, sample, evaluate=lambda params: 3.0)
nan_score = lrx.Problem(init, loss, sample, evaluate=lambda params: {"loss": jnp.sum(params) * jnp.nan})

def make():
    return bowl

def fails():
    raise RuntimeError("no data")

def exits():
    import sys
    sys.exit(3)
"""
QUICK = ["--steps", "10", "--seeds", "2", "--optimizers", "sgd", "--schedules", "constant, linear"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a problem file, in which the command runs."""
    path = tmp_path_factory.mktemp("cli")
    (path / "mine.py").write_text(FILE)
    (path / "broken.json").write_text("{")
    (path / "unknown.json").write_text('{"lrx": 1, "schedule": "nothing"}')
    (path / "binary.json").write_bytes(bytes(range(128, 256)))
    before = os.getcwd()
    os.chdir(path)
    yield path
    os.chdir(before)


def run(*args, **env):
    return CliRunner().invoke(make_app(), list(args), prog_name="lrx", env=env)


@pytest.fixture(scope="module")
def choices():
    """What `lrx.tune` gave in `tuned`."""
    return []


@pytest.fixture(scope="module")
def tuned(folder, choices):
    """One run of `lrx tune` on the file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_tune, "tune", lambda *args, **kwargs: choices.append(lrx.tune(*args, **kwargs)) or choices[0])
        return run("tune", "mine.py:make", *QUICK, "--learning-rates", "1e-3:1:4", "--out", "out/report")


@pytest.fixture
def told_again(tuned, choices, monkeypatch):
    """`lrx tune` gives the same once more, without training."""
    monkeypatch.setattr(_tune, "tune", lambda *args, **kwargs: choices[0])


# ---------------------------------------------------------------- lrx tune


def test_tune_prints_a_table_the_choice_and_the_report(tuned):
    assert tuned.exit_code == 0 and tuned.stderr == ""
    lines = tuned.stdout.splitlines()
    header = next(line for line in lines if line.startswith("optimizer"))
    assert header.split() == ["optimizer", "schedule", "rate", "loss", "verdict"]
    rows = [line for line in lines if " sgd " in line and "±" in line]
    assert len(rows) == 2 and rows[0].startswith("▸ sgd") and rows[1].startswith("  sgd")
    assert any(line.startswith("Use sgd with the ") for line in lines)
    assert any(line.startswith("On 2 fresh seeds its final training loss is ") for line in lines)
    assert lines[-1] == f"Report: {os.path.join('out', 'report', 'report.html')}"


def test_tune_writes_the_report(tuned, folder):
    assert "[red]bowl[/red]" in (folder / "out/report/report.html").read_text(encoding="utf-8")


def test_show_reads_the_schedule_that_tune_wrote(tuned, folder):
    file = folder / "out/report/schedule.json"
    shown = run("show", "out/report/schedule.json")
    assert shown.exit_code == 0 and shown.stdout.splitlines()[0] == repr(lrx.from_json(file.read_text()))


def test_tune_within_a_budget(folder):
    names = "--optimizers", "sgd", "--schedules", "linear"
    quick = "--steps", "100", "--budget", "1.75", "--by", "training", "--out", "budget"
    result = run("tune", "mine.py:make", *names, *quick)
    assert result.exit_code == 0 and result.stderr == ""
    assert "On one seed its final training loss is " in result.stdout and "A budget of 2." in result.stdout
    assert " of 1.75 runs of 100 steps, short ones included; seeds per combination: 1." in result.stdout
    assert (folder / "budget/short_runs.png").exists()


def test_no_number_is_cut_in_a_narrow_terminal(tuned, told_again, monkeypatch):
    monkeypatch.setattr(lrx.Tuned, "report", lambda self, path: path)
    narrow = run("tune", "mine.py:make", "--out", "narrow", COLUMNS="30")
    table = [line.split() for line in narrow.stdout.splitlines() if "±" in line and " sgd " in line]
    assert table == [line.split() for line in tuned.stdout.splitlines() if "±" in line and " sgd " in line]


def test_tune_without_a_problem_lists_those_that_there_are():
    listed = run("tune")
    assert listed.exit_code == 0 and "digits, diabetes, mnist1d, text" in listed.stdout


# ---------------------------------------------------------------- lrx find


def test_find_answers_draws_and_writes(folder):
    found = run("find", "mine.py:bowl", "--optimizer", "sgd", "--steps", "200", "--seed", "3", "--out", "found")
    assert found.exit_code == 0 and found.stderr == ""
    lines = found.stdout.splitlines()
    told = json.loads((folder / "found/find.json").read_text())
    assert lines[0] == f"Use sgd with a learning rate of {told['learning_rate']:.3g} for [red]bowl[/red], 200 steps."
    assert lines[1].startswith("The best rate is expected between ")
    assert any(line.startswith(f"Cost: {told['gradients']} gradients, 1.2") for line in lines)
    drawing = [line for line in lines if "|" in line]
    assert len(drawing) == 12 and all(any(str(i) in line.split("|")[1] for line in drawing) for i in (1, 2, 3))
    assert sum(line.count("^") for line in lines) == 1 and found.stdout.isascii()
    assert (folder / "found/find.png").read_bytes().startswith(b"\x89PNG")


# ---------------------------------------------------------------- progress


def test_the_bar_tells_the_losses_and_the_time_that_is_left():
    losses = Losses()
    assert losses.text() == ""
    losses.add(np.array([[[3.0, 1.0]], [[np.nan, 1.0]], [[5.0, 5.0]]]))
    assert losses.text() == "loss 2 · best 2"
    losses.add(np.full((1, 2, 3), 4.0))
    assert losses.text() == "loss 4 · best 2"
    assert [duration(x) for x in (0.4, 59, 200, 7500)] == ["0 s", "59 s", "3 min 20 s", "2 h 5 min"]


# ---------------------------------------------------------------- lrx show


def test_show_draws():
    shown = run("show", "warmup_linear_schedule(0.1, 10, total_steps=100)", "--steps", "100")
    lines = shown.stdout.splitlines()
    assert shown.exit_code == 0 and shown.stderr == "" and max(map(len, lines[1:])) <= 80
    assert (
        lines[0]
        == "warmup_linear_schedule(peak_value=0.1, warmup_steps=10, total_steps=100, init_value=0.0, end_value=0.0)"
    )
    assert lines[2].lstrip().startswith("0.1 ┤") and lines[13].lstrip().startswith("0 ┤")
    assert lines[-1].split() == ["0", "100", "steps"]


def test_a_width_of_0_hides_nothing():
    assert "constant_schedule" in run("show", "constant_schedule(0.1)", COLUMNS="0").stdout


def test_show_writes_a_picture(tmp_path):
    for suffix, start in (("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")):
        file = tmp_path / f"picture.{suffix}"
        assert run("show", "constant_schedule(0.1)", "--out", str(file)).exit_code == 0
        assert file.read_bytes().startswith(start)


@pytest.mark.parametrize("steps", [1, 3, 127, 128, 5000, 2**31 - 1])
@pytest.mark.parametrize(
    "schedule",
    [
        lrx.constant_schedule(0.1),
        lrx.constant_schedule(-0.1),
        lrx.constant_schedule(0.0),
        lrx.triangular_schedule(0.0, 1.0, half_cycle_steps=7),
        lrx.piecewise_constant_schedule(1.0, {3: 0.1}),
        lrx.as_schedule(lambda count: 1.0 / count),  # inf at first
    ],
)
def test_a_drawing_fills_every_column_and_its_lines_are_of_one_length(schedule, steps):
    lines = drawing(schedule, steps, width=20, height=4).splitlines()
    assert len(lines) == 6
    rows = [[ord(c) - 0x2800 for c in line[-20:]] for line in lines[:4]]
    assert len({len(line) for line in lines[:5]}) == 1
    for x in range(20):
        column = [row[x] for row in rows]
        assert any(c & 0b01000111 for c in column) and any(c & 0b10111000 for c in column)  # left and right dots


def test_a_peak_between_two_columns_is_drawn():
    assert drawing(lrx.piecewise_value_schedule([501, 502], [0.0, 1.0, 0.0]), 1000).lstrip().startswith("1 ┤")


# ---------------------------------------------------------------- mistakes

TUNE_DIGITS = ("tune", "digits")
MISTAKES = [
    ([], "Missing command. See 'lrx --help'."),
    (["nothing"], "No such command 'nothing'"),
    (["find"], "Missing argument 'PROBLEM'. See 'lrx find --help'."),
    (["find", "nothing"], "PROBLEM must be one of digits, diabetes, mnist1d, text, or 'path/to/file.py:name'"),
    (["find", "digits", "--optimizer", "foo"], "--optimizer: there is no 'foo'. Choose from adam, sgd"),
    (["find", "digits", "--steps", "0"], "--steps must be at least 1, got 0."),
    (["find", "digits", "--seed", "-1"], "--seed must be a whole number from 0 to 4294967295, got -1."),
    (["find", "digits", "--lanes", "0"], "--lanes must be at least 1, got 0."),
    (["find", "digits", "--out", "mine.py"], "mine.py is a file"),
    (["find", "mine.py:always_nan"], "mine.py:always_nan: PROBLEM must have a finite loss before the first update"),
    (["tune", "nothing"], "PROBLEM must be one of digits, diabetes, mnist1d, text, or 'path/to/file.py:name'"),
    (["tune", "missing.py:x"], "PROBLEM must name a file that exists, got 'missing.py:x'."),
    (["tune", "mine.py:nothing"], "There is no 'nothing'; its problems are bowl"),
    (["tune", "mine.py:init"], "PROBLEM: mine.py failed with TypeError"),
    (["tune", "mine.py:fails"], "of mine.py failed with RuntimeError: no data"),
    (["tune", "mine.py:exits"], "of mine.py failed with SystemExit: 3"),
    ([*TUNE_DIGITS, "--nothing"], "No such option: --nothing. See 'lrx tune --help'."),
    ([*TUNE_DIGITS, "--steps", "x"], "Invalid value for '--steps'"),
    ([*TUNE_DIGITS, "--steps", "0"], "--steps must be at least 1, got 0."),
    ([*TUNE_DIGITS, "--seeds", "-1"], "--seeds must be at least 1, got -1."),
    ([*TUNE_DIGITS, "--budget", "x"], "Invalid value for '--budget'"),
    ([*TUNE_DIGITS, "--budget", "0"], "--budget must be positive and finite, got 0.0."),
    ([*TUNE_DIGITS, "--budget", "nan"], "--budget must be positive and finite, got nan."),
    (["tune", "mine.py:bowl", "--budget", "1"], "mine.py:bowl: --budget must be at least 1.25, "),
    ([*TUNE_DIGITS, "--by", "luck"], "--by: there is no 'luck'. Choose from training, validation."),
    (["tune", "mine.py:bowl", "--by", "validation"], "mine.py:bowl: --by needs a problem whose evaluate(params)"),
    ([*TUNE_DIGITS, "--steps", "3000000000"], "--steps must be at most 2147483647"),
    ([*TUNE_DIGITS, "--optimizers", "sgd,foo"], "--optimizers: there is no 'foo'. Choose from adam, sgd"),
    ([*TUNE_DIGITS, "--optimizers", ""], "--optimizers: there is no ''."),
    ([*TUNE_DIGITS, "--schedules", "foo"], "--schedules: there is no 'foo'. Choose from constant"),
    ([*TUNE_DIGITS, "--learning-rates", "a:b:c"], "--learning-rates must be START:STOP:NUM"),
    ([*TUNE_DIGITS, "--learning-rates", "1:2"], "--learning-rates must be START:STOP:NUM"),
    ([*TUNE_DIGITS, "--learning-rates", "1:2:3:4"], "--learning-rates must be START:STOP:NUM"),
    ([*TUNE_DIGITS, "--learning-rates", "1:1:3"], "START must be positive and less than STOP, got '1:1:3'."),
    ([*TUNE_DIGITS, "--learning-rates", "0:1:3"], "START must be positive and less than STOP"),
    ([*TUNE_DIGITS, "--learning-rates", "-1:1:3"], "START must be positive and less than STOP"),
    ([*TUNE_DIGITS, "--learning-rates", "nan:1:3"], "START must be positive and less than STOP"),
    ([*TUNE_DIGITS, "--learning-rates", "1:inf:3"], "START must be positive and less than STOP"),
    ([*TUNE_DIGITS, "--learning-rates", "1:2:1"], "NUM must be at least 2, got '1:2:1'."),
    ([*TUNE_DIGITS, "--learning-rates", "1e-3:1:2000000000"], "NUM must be at most 10000, got '1e-3:1:2000000000'."),
    ([*TUNE_DIGITS, "--learning-rates", "1e-60:2:3"], "--learning-rates: logspace(start=...) must be positive"),
    ([*TUNE_DIGITS, "--out", "mine.py"], "mine.py is a file, so mine.py cannot be a folder."),
    ([*TUNE_DIGITS, "--out", "mine.py/x"], "mine.py is a file"),
    (["show"], "Missing argument 'SCHEDULE_OR_JSON'"),
    (["show", ""], "'' is not a schedule"),
    (["show", "."], "'.' is not a schedule"),
    (["show", "nothing"], "'nothing' is not a schedule. Write one such as 'cosine_decay_schedule(0.1, 1000)'."),
    (["show", "nothing(1)"], "there is no schedule 'nothing'. There are: "),
    (["show", "__import__('os').system('true')"], "there is no schedule 'system'."),
    (["show", "cosine_decay_schedule(0.1, 0)"], "cosine_decay_schedule(decay_steps=...) must be positive, got 0."),
    (["show", "cosine_decay_schedule(0.1)"], "missing 1 required positional argument: 'decay_steps'"),
    (["show", "(" * 500], "is not a schedule"),
    (["show", "missing.json"], "cannot read missing.json: No such file or directory."),
    (["show", "broken.json"], "broken.json: from_json(text=...) must be JSON"),
    (["show", "unknown.json"], "unknown.json: there is no schedule 'nothing'."),
    (["show", "binary.json"], "binary.json: 'utf-8' codec can't decode"),
    (["show", "constant_schedule(1)", "--steps", "0"], "--steps must be at least 1, got 0."),
    (["show", "constant_schedule(1)", "--out", "x.foo"], "--out must end in one of "),
    (["show", "constant_schedule(1)", "--out", "x" * 300 + ".png"], "--out: cannot write xxx"),
    (["show", "constant_schedule(1)", "--out", "x"], "--out must end in one of "),
    (["show", "constant_schedule(1)", "--out", "nowhere/x.png"], "--out: cannot write nowhere/x.png: No such file"),
]


@pytest.mark.parametrize(("args", "message"), MISTAKES, ids=[" ".join(args)[:40] for args, _ in MISTAKES])
def test_a_mistake_is_one_line_and_exit_code_2(folder, args, message):
    result = run(*args)
    assert result.exit_code == 2 and result.stdout == ""
    assert result.stderr.startswith("lrx: error: ") and result.stderr.count("\n") == 1
    assert message in result.stderr


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("wrong_shapes", 1, "mine.py failed with TypeError: dot_general requires contracting dimensions"),
        ("not_scalar", 1, "training mine.py:not_scalar failed with TypeError: Gradient only defined for scalar"),
        ("always_nan", 2, "must have a finite loss before the first update"),
        # no option's name, and no rate's fault
        ("no_scores", 2, "Problem(evaluate=...) must return a dict of scalars"),
        (
            "nan_score",
            2,
            "no member whose validation loss is finite on every seed, though the losses of the training are",
        ),
    ],
)
def test_an_error_while_training_is_one_line(folder, name, code, message):
    result = run("tune", f"mine.py:{name}", *QUICK)
    assert result.exit_code == code and result.stdout == ""
    assert message in result.stderr and result.stderr.count("\n") == 1


def test_the_line_of_the_users_file_is_named(folder):
    line = FILE.splitlines().index("    return jnp.dot(params, jnp.ones(3))") + 1
    result = run("tune", "mine.py:wrong_shapes", *QUICK)
    assert f"lrx: error: line {line} of {folder / 'mine.py'} failed with" in result.stderr


def test_an_interrupt_is_quiet(folder):
    result = run("tune", "mine.py:stopped", *QUICK)
    assert result.exit_code == 128 + signal.SIGINT and result.output.strip() == ""


def test_a_report_that_cannot_be_written(folder, told_again, monkeypatch):
    def full(self, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lrx.Tuned, "report", full)
    result = run("tune", "mine.py:make")
    assert result.exit_code == 2 and "Use sgd" in result.stdout  # the answer is not lost
    assert result.stderr == "lrx: error: --out: cannot write into lrx-report: No space left on device.\n"


@pytest.mark.parametrize(
    ("module", "args", "message"),
    [
        ("typer", [], 'the command needs typer and rich: pip install "lrx[cli]"'),
        ("rich", [], 'the command needs typer and rich: pip install "lrx[cli]"'),
        ("matplotlib", TUNE_DIGITS, 'the report needs matplotlib: pip install "lrx[cli]"'),
        ("matplotlib.figure", ["show", "constant_schedule(1)", "--out", "x.png"], 'pip install "lrx[plot]"'),
    ],
)
def test_what_is_not_installed_is_named(monkeypatch, capsys, module, args, message):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SystemExit) as stopped:
        make_app()(list(args), prog_name="lrx")
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and message in error and error.count("\n") == 1


def test_version():
    result = run("--version")
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"lrx {lrx.__version__}\n", "")


def test_help():
    for args in (["--help"], ["tune", "--help"], ["find", "--help"], ["show", "--help"]):
        result = run(*args)
        assert result.exit_code == 0 and "Usage: lrx" in result.stdout


CONFIGS = {
    '{"name": "StepLR", "step_size": 30, "lr": 0.1}': "exponential_decay(",
    '{"class_name": "CosineDecay", "config": {"initial_learning_rate": 1, "decay_steps": 9}}': "cosine_decay_schedule(",
    '{"lr_scheduler_type": "linear", "learning_rate": 0.1, "max_steps": 9, "seed": 1}': "linear_schedule(",
    '{"sched": "step", "lr": 0.1, "warmup_epochs": 0, "model": "vit"}': "exponential_decay(",
}


@pytest.mark.parametrize("config", CONFIGS)
def test_show_draws_configs_of_other_libraries(folder, config):
    (folder / "config.json").write_text(config)
    shown, from_file = run("show", config), run("show", "config.json")
    assert shown.exit_code == 0 and shown.stdout.startswith(CONFIGS[config])
    assert from_file.stdout == shown.stdout


def test_show_says_what_is_wrong_with_a_config(folder):
    wrong = run("show", '{"name": "StepLR", "lr": 0.1}')
    assert wrong.exit_code == 2 and "from_torch(step_size=...) must be given for StepLR." in wrong.stderr
    plateau = run("show", '{"name": "ReduceLROnPlateau", "lr": 0.1}')
    assert plateau.exit_code == 2 and "there is no curve to draw" in plateau.stderr
    unknown = run("show", '{"name": "Nothing"}')
    assert unknown.exit_code == 2 and "'lrx' and 'schedule'" in unknown.stderr
    assert "or a config of torch, Keras, transformers or timm" in unknown.stderr
