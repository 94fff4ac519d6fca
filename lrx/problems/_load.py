"""A problem by its name on the command line."""

import sys
import traceback
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from ._problem import Problem
from .diabetes import diabetes
from .digits import digits
from .mnist1d import mnist1d
from .text import text

T = TypeVar("T")

BUILT_IN: dict[str, Callable[[], Problem]] = {
    "digits": digits,
    "diabetes": diabetes,
    "mnist1d": mnist1d,
    "text": text,
}


def load(spec: str) -> Problem:
    """The problem that a word names: a ready one, or one from a file of yours.

    Args:
      spec: `"digits"`, `"diabetes"`, `"mnist1d"`, `"text"`, or `"path/to/file.py:name"`, where `name` is a variable
        that holds a `Problem` or a function without arguments that returns one. The file is run, and may import the
        modules beside it.

    Returns:
      The `Problem`.

    Raises:
      ValueError: if there is no such problem, file or name, if it is not a problem, or if the file fails (with the
        line that failed, and the error as the cause).
      ImportError: if a ready problem's data need a package that is not installed.

    Examples:
      >>> load("digits")
      Problem(name='digits')
    """
    if not isinstance(spec, str):
        raise TypeError(f"load(spec=...) must be a string, got {spec!r}.")
    if spec in BUILT_IN:
        return BUILT_IN[spec]()
    path, _, name = spec.rpartition(":")
    if not path.endswith(".py"):
        raise _fail(f"must be one of {', '.join(BUILT_IN)}, or 'path/to/file.py:name'", spec)
    file = Path(path).absolute()
    if not file.is_file():
        raise _fail("must name a file that exists", spec, f"There is none at {file}.")
    module = _run(file)
    if not hasattr(module, name):
        problems = [key for key, value in vars(module).items() if isinstance(value, Problem)]
        known = f"its problems are {', '.join(problems)}" if problems else "it holds no Problem"
        raise _fail(f"must name something in {file.name}", spec, f"There is no {name!r}; {known}.")
    value = getattr(module, name)
    if callable(value):
        value = _blame(file, value)
    if not isinstance(value, Problem):
        kind = type(value).__name__
        raise _fail("must name a Problem or a function returning one", spec, f"This one gives {kind}: {value!r}.")
    return value


def _fail(rule: str, spec: str, way_out: str = "") -> ValueError:
    # not `check.fail`: a bad call inside the file must be named, not the call of `load` around it
    return ValueError(f"load(spec=...) {rule}, got {spec!r}. {way_out}".rstrip())


def _run(file: Path) -> ModuleType:
    """The file as a module, with its folder importable while it runs, as for a script."""
    loader = SourceFileLoader(f"lrx_problem_{file.stem}", str(file))
    module = ModuleType(loader.name)
    module.__file__ = loader.path
    sys.modules[loader.name] = module  # dataclasses and pickle look their module up
    sys.path.insert(0, str(file.parent))
    try:
        _blame(file, lambda: loader.exec_module(module))
    except ValueError:
        del sys.modules[loader.name]
        raise
    finally:
        sys.path.remove(str(file.parent))
    return module


def _blame(file: Path, call: Callable[[], T]) -> T:
    """The result of the user's code, or a ValueError that says which of its lines failed."""
    try:
        return call()
    except (Exception, SystemExit) as error:
        line: Any = getattr(error, "lineno", None)  # of a SyntaxError
        for frame in traceback.extract_tb(error.__traceback__):
            if frame.filename == str(file):
                line = frame.lineno
        at = f"line {line} of {file.name}" if line else file.name
        raise ValueError(f"load(spec=...): {at} failed with {type(error).__name__}: {error}") from error
