"""The answer to a name that lrx does not have: where it is, or what is called nearly so.

`lrx.softmax_cross_entropy` is an AttributeError that says: losses are optax's, use optax.softmax_cross_entropy. Nothing
is listed here by hand, but for the names for which the optax that is installed may be too old.
"""

import difflib
import importlib
import importlib.util
import inspect
import sys
from types import ModuleType
from typing import Any

import optax

NEWER = {
    "0.2.6": ("SnapshotState", "init_empty_state", "snapshot"),
    "0.2.7": (
        "MonitorState",
        "measure_with_ema",
        "microbatch",
    ),
}
"""What `_from_optax` takes from a version of optax above the floor."""

SHARED = ("contrib", "schedules", "transforms")
"""The modules of optax that lrx has too. The others stay optax's as a whole."""


def answer_in(module: str, late: str | None = None) -> None:
    """Give a module of lrx's its `__getattr__`. Type checkers do not see it: to them an unknown name is an error.

    Args:
      module: its name.
      late: the name of a module whose public names are the first's too, from when one of them, or all, are asked for.
    """
    names = vars(sys.modules[module])

    def __dir__() -> list[str]:
        if late is not None:
            names.update(_public(importlib.import_module(late)) | names)
        return list(names)

    def __getattr__(name: str) -> Any:
        if name == "__all__":  # what `from lrx import *` asks for
            return [n for n in __dir__() if not n.startswith("_")]
        if name.startswith("_"):
            raise AttributeError(_answer(module, name), name=name)
        if late is not None and name.isidentifier() and importlib.util.find_spec(f"{module}.{name}"):
            return importlib.import_module(f"{module}.{name}")  # alone, as what is late imports it too
        if name in __dir__():
            return names[name]
        raise AttributeError(_answer(module, name), name=name)

    names.update(__getattr__=__getattr__, __dir__=__dir__)


def _answer(module: str, name: str) -> str:
    if name.startswith("_"):
        return f"module {module!r} has no attribute {name!r}"
    for version, names in NEWER.items():
        if name in names:
            return needs_newer(f"{module}.{name}", version)
    if name in dir(sys.modules["lrx"]):
        return f"{module} has no {name}. Use lrx.{name}."
    path = _in_optax(name)
    if path is not None:
        return f"{module} has no {name}: {_whose(name)} optax's. Use {path}."
    own = _public(sys.modules[module])
    theirs = set(_public(optax)).union(*_modules().values())
    close = difflib.get_close_matches(name, {*own, *theirs}, cutoff=0.7)
    if not close:
        return f"{module} has no {name}, nor has optax."
    places = [f"{module}.{n}" if n in own else str(_in_optax(n)) for n in close]
    return f"{module} has no {name}. Did you mean {' or '.join(places)}?"


def needs_newer(name: str, version: str) -> str:
    """What is said where the optax that is installed is too old."""
    return f"{name} needs optax {version} or newer, but optax {optax.__version__} is installed."


def _in_optax(name: str) -> str | None:
    """Where optax has a name."""
    if name in _public(optax):
        return f"optax.{name}"
    return next((f"optax.{home}.{name}" for home, names in _modules().items() if name in names), None)


def _whose(name: str) -> str:
    """What kind of thing a name of optax's is, as the name of the module says it: "losses are"."""
    modules = _modules()
    kinds = [m for m, names in modules.items() if m not in SHARED and (name in names or name == m)]
    return "it is" if not kinds else f"{kinds[0]} are" if kinds[0].endswith("s") else f"{kinds[0]} is"


def _modules() -> dict[str, dict[str, Any]]:
    """The public modules of optax, with their public names."""
    return {name: _public(x) for name, x in _public(optax).items() if inspect.ismodule(x)}


def _public(module: ModuleType) -> dict[str, Any]:
    """The public names of a module, without the other packages that it imports."""
    package = module.__name__.split(".")[0]
    return {
        name: x
        for name, x in vars(module).items()
        if not name.startswith("_") and not (inspect.ismodule(x) and x.__name__.split(".")[0] != package)
    }
