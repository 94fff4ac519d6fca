"""The command as a process: how it ends, and what becomes of what it prints."""

import ast
import logging
import runpy
import sys
from typing import NamedTuple

import pytest

import lrx.cli
from tests.common import python


def test_python_m_lrx(monkeypatch, capsys):
    monkeypatch.setattr(lrx.cli, "_leave_at_once", lambda: None)  # what a process sets for itself
    monkeypatch.setattr(logging.getLogger("jax"), "setLevel", lambda level: None)

    def lrx_command(*args):
        monkeypatch.setattr(sys, "argv", ["python -m lrx", *args])
        with pytest.raises(SystemExit) as end:
            runpy.run_module("lrx", run_name="__main__")
        return end.value.code, *capsys.readouterr()

    code, shown, errors = lrx_command("show", "cosine_decay_schedule(0.1, 100)")
    assert (code, errors) == (0, "") and shown.startswith("cosine_decay_schedule(")
    code, shown, errors = lrx_command("tune", "nothing")
    assert (code, shown) == (2, "") and errors.count("\n") == 1


PROCESSES = """
import ctypes, os, signal, subprocess, sys, threading
import matplotlib, pydantic
import lrx.cli, lrx.cli._tune

lrx.cli.make_app(), lrx.tune  # what all four would import is imported once

def tune(*args, **kwargs):
    if name == "interrupt":  # in the middle of what does not come back to Python
        threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        signal.alarm(60)  # another end, should that not be one
        lock = ctypes.create_string_buffer(64)
        for _ in range(2):  # the second time it waits for ever
            ctypes.CDLL(None).pthread_mutex_lock(lock)
    class Tuned:
        def report(self, out):
            out.mkdir()
            (out / "report.html").write_text("")
            return out / "report.html"
    return Tuned()

def show(tuned):
    print("\\n".join(["▸ adam 0.1±0.2 → ─┤⠀⣠"] + ["x" * 80] * 5000))

lrx.cli._tune.tune, lrx.cli._tune._print_tuned = tune, show
started = {}
for name in ("cp1252", "head", "full", "interrupt"):
    out = open("/dev/full" if name == "full" else f"{name}.out", "wb")
    if name == "head":
        out = subprocess.Popen(["head", "-1"], stdin=subprocess.PIPE, stdout=out).stdin
    started[name] = os.fork()
    if not started[name]:  # from here on it is a process like any other
        os.dup2(out.fileno(), 1)
        os.dup2(os.open(f"{name}.err", os.O_WRONLY | os.O_CREAT), 2)
        sys.stdout.reconfigure(encoding="cp1252" if name == "cp1252" else "utf-8")
        sys.argv = ["lrx", "tune", "mine.py:make", "--out", f"{name}.report"]
        sys.exit(lrx.cli.main())
    out.close()
print({name: os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for name, child in started.items()})
"""


class Ended(NamedTuple):
    code: int
    out: bytes
    err: str


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    """Four commands that have trained, side by side: what became of each, by its name."""
    folder = tmp_path_factory.mktemp("processes")
    (folder / "mine.py").write_text("from tests.tuning.bowl import bowl as make")
    codes = ast.literal_eval(python(PROCESSES, cwd=folder))
    texts = {name: (folder / f"{name}.out", folder / f"{name}.err") for name in codes}
    return folder, {
        name: Ended(codes[name], out.read_bytes() if out.exists() else b"", err.read_text())
        for name, (out, err) in texts.items()
    }


def test_a_report_outlives_what_becomes_of_the_text(processes):
    folder, told = processes
    for name in ("cp1252", "head", "full"):
        assert (folder / f"{name}.report/report.html").exists(), told[name]
    first = told["cp1252"].out.decode("cp1252").splitlines()[0]
    assert first == "> adam 0.1±0.2 -> -| ." and (told["cp1252"].code, told["cp1252"].err) == (0, "")
    assert told["head"].out.decode().startswith("▸ adam") and told["head"].code in (0, 1) and told["head"].err == ""
    assert told["full"].err == "lrx: error: cannot write the output: No space left on device.\n"
    assert told["full"].code == 1


def test_an_interrupt_ends_at_once_with_130(processes):
    assert processes[1]["interrupt"] == (130, b"", "")
