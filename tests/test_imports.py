"""What imports what, inside lrx."""

import ast
import functools
import graphlib
from pathlib import Path

import lrx
from tests.common import python

ROOT = Path(lrx.__file__).parent
FILES = {".".join(p.relative_to(ROOT.parent).with_suffix("").parts): p for p in ROOT.rglob("*.py")}
MODULES = {name.removesuffix(".__init__"): path for name, path in FILES.items()}


def imported(module: str) -> set[str]:
    """The modules of lrx that a module imports, inside functions too."""
    path = MODULES[module]
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            names = {f"{source}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else source for name in names}
    return {name for name in found if name.split(".")[0] == "lrx"}


def test_imports_make_no_circle():
    graph = {module: imported(module) for module in MODULES}
    assert set().union(*graph.values()) <= set(MODULES)
    assert "lrx._late" in graph["lrx"]
    assert "lrx.tuning._find" in graph["lrx._late"]
    assert "lrx.tuning._report_words" in graph["lrx.cli._tune"]  # inside a function
    order = list(graphlib.TopologicalSorter(graph).static_order())  # a CycleError names the modules
    assert order.index("lrx.charts") < order.index("lrx.tuning._sweep") < order.index("lrx")


def test_charts_know_no_result_and_no_training():
    reached, waiting = set(), ["lrx.charts"]
    while waiting:
        module = waiting.pop()
        if module not in reached:
            reached.add(module)
            waiting += imported(module)
    assert "lrx.schedules._schedule" in reached
    above = "lrx.tuning", "lrx.diagnosis", "lrx.problems", "lrx.optimizers", "lrx.controllers"
    assert not [m for m in reached if m.startswith(above)]


# ---------------------------------------------------------------- in a process that has not imported lrx

STAY_FUNCTIONS = f"""
import lrx
before = dict(vars(lrx))
for module in {[m for m in MODULES if m != "lrx.__main__"]}:
    importlib.import_module(module)
assert callable(lrx.plot) and callable(lrx.report)
assert {{k: v for k, v in vars(lrx).items() if k in before}} == before
"""

READ_LATE = """
import lrx
late = "lrx.tuning", "lrx.problems", "lrx.convert", "lrx.charts", "lrx.evidence", "lrx.scaling", "lrx.logs"
lrx.adam(lrx.cosine_decay_schedule(1e-3, 100)), hasattr(lrx, "__wrapped__")
assert not set(late) & set(sys.modules)
mine = lrx.tune = object()  # a name that the user sets stays
assert lrx.find and set(late) <= set(sys.modules)
assert not hasattr(lrx, "a.b") and not hasattr(lrx, "optimizers.adam")
assert lrx.tune is mine and {"find", "laws", "plot"} <= set(dir(lrx)) == set(vars(lrx))
"""

ROOMS = ["lrx.tuning._tune", "lrx.problems", "lrx.convert", "lrx.charts", "lrx.evidence.loss_law", "lrx.logs"]
SCRIPTS = {"stay functions": STAY_FUNCTIONS, "read late": READ_LATE}
SCRIPTS |= {room: f"importlib.import_module({room!r})" for room in ROOMS}

EACH = f"""if True:
    import importlib, importlib.machinery, sys
    import jax, optax
    read, code = importlib.machinery.SourceFileLoader.get_code, {{}}

    def get_code(self, name):  # each file of lrx is compiled once
        return code[name] if name in code else code.setdefault(name, read(self, name))

    importlib.machinery.SourceFileLoader.get_code = get_code
    others, failed = set(sys.modules), {{}}
    for question, script in {SCRIPTS}.items():
        try:
            exec(script, dict(importlib=importlib, sys=sys))
        except Exception as error:
            failed[question] = repr(error)
        for name in set(sys.modules) - others:
            if name.startswith("lrx"):
                del sys.modules[name]
    print(failed)
"""


@functools.cache
def failed():
    """What each question met, all in one process that forgets lrx after each."""
    return ast.literal_eval(python(EACH))


def test_plot_and_report_stay_functions_whatever_is_imported():
    """A module of the same name would take the place of the function when it is imported."""
    assert "stay functions" not in failed(), failed()


def test_what_a_training_loop_does_without_is_read_late():
    assert "read late" not in failed(), failed()


def test_every_late_room_can_be_the_first_that_is_imported():
    """Whatever was imported before it may hide a circle."""
    assert not failed().keys() & set(ROOMS), failed()


def test_a_star_import_is_all_of_it():
    namespace = {}
    exec("from lrx import *", namespace)
    assert {"adam", "find", "laws"} <= set(namespace)
