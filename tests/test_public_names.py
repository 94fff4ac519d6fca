"""Every public factory has a contract record, a reference and a doctest."""

import ast
import collections
import inspect
import re
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

import lrx
from tests.optimizers import cases as optimizers
from tests.optimizers.wrappers import JOINED, WRAPPERS
from tests.schedules import cases as schedules
from tests.schedules import combined

ROOT = Path(__file__).parent
FUNCTIONS = {
    name: x
    for name, x in inspect.getmembers(lrx, inspect.isfunction)
    if x.__module__.startswith("lrx.") and not name.startswith("_")
}
del FUNCTIONS["multi_transform"]  # another name for `partition`
RETURNS = {name: get_type_hints(x).get("return", Any) for name, x in FUNCTIONS.items()}
KINDS = (lrx.Transformation, lrx.Schedule, lrx.Controller)
FACTORIES = [name for name, kind in RETURNS.items() if isinstance(kind, type) and issubclass(kind, KINDS)]
COMPOSITION = {"chain", "named_chain", "masked", "partition", "accumulate"}
"""What is in so many comparisons that its parts are not compared by it."""
CALL = re.compile(r"\b([a-z_0-9]+)\(")


def names_in(text: str) -> set[str]:
    return set(CALL.findall(text))


class Record(NamedTuple):
    factory: str
    """The factory that it calls."""
    parts: set[str]
    """What the repr of the result names."""


RECORDS = [
    *(
        Record(getattr(case.make, "__wrapped__", case.make).__name__, names_in(repr(case.build())))
        for case in optimizers.CASES + optimizers.VARIANTS + optimizers.SEARCHES
    ),
    *(Record(case.factory.__name__, names_in(repr(case.build()))) for case in schedules.CASES + schedules.VARIANTS),
    *(Record("", names_in(repr(case.schedule))) for case in combined.CASES),
    *(
        Record(getattr(wrap, "__name__", ""), names_in(repr(wrap(lrx.adam(0.1)))))
        for wrap in (WRAPPERS | JOINED).values()
    ),
]


TWINS = {
    "by_multiplier": "optimizers/test_composition.py::test_multipliers_by_name_are_the_learning_rates_of_groups",
    "freeze": "optimizers/test_composition.py::test_optax_477_a_frozen_group_keeps_no_memory_and_costs_no_gradient",
    "layer_wise_decay": "optimizers/test_composition.py::test_timm_2532_layer_decay_acts_in_the_update",
    "pack": "optimizers/test_pack.py::test_twenty_steps_are_those_of_the_optimizer_itself",
    "per_layer": "optimizers/test_per_layer.py::test_it_is_the_optimizer_on_the_layers",
}
"""Compositions whose twin is the formula or the bare optimizer in one test."""


def names_by_module(tree: ast.AST) -> dict[str, set[str]]:
    """What is taken from each module, as in `lrx.adam` or `optax.contrib.prodigy`."""
    found: dict[str, set[str]] = collections.defaultdict(set)
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(ast.Name(module), name):
                found[module].add(name)
            case ast.Attribute(ast.Attribute(ast.Name(package), module), name):
                found[f"{package}.{module}"].add(name)
    return found


def compared() -> set[str]:
    """The names that a reference in NumPy, another library's twin or recorded values are compared with."""
    found = {name for case in combined.CASES for name in names_in(repr(case.schedule))}  # with a formula each
    for name, test in TWINS.items():
        file, function = test.split("::")
        assert f"def {function}(" in (ROOT / file).read_text(encoding="utf-8")
        found.add(name)
    for file in ROOT.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        tree = ast.parse(text)
        names = names_by_module(tree)
        # optax's function of the name in the same file, or both libraries in a loop: `for m in (lrx, optax)`
        found |= names["lrx"] & (names["optax"] | names["optax.contrib"])
        found |= names["m"] if "(lrx, optax)" in text else set()
        if file.name != "test_agreement.py" and file.parent.name != "reference":
            continue
        found |= names["lrx"]
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)  # as in Case("adam"), of which `getattr` makes both
            elif isinstance(node, ast.FunctionDef) and file.parent.name == "reference":
                found.add(node.name)
    return found


def test_factories_are_found():
    assert len(FACTORIES) > 140
    assert {"adam", "scale_by_adam", "chain", "wsd_schedule", "plateau", "alig", "with_warmup"} <= set(FACTORIES)
    # what gives Any makes no schedule, controller or transformation of a class of its own
    assert sorted(name for name, kind in RETURNS.items() if kind is Any) == [
        "apply_updates",
        "as_schedule",
        "eval_params",
        "from_json",
        "plot",
        "report",
        "rescale_init",
        "resume",
        "scale_for_width",
        "schedule_free_eval_params",
        "tree_map_params",
        "with_hyperparams",
    ]


def test_every_factory_has_a_contract_record():
    asked = set().union(*({record.factory, *record.parts} for record in RECORDS))
    assert [name for name in FACTORIES if name not in asked] == []


def test_every_factory_has_an_independent_reference():
    """Its own, or that of an optimizer of which it is a part."""
    known = compared()
    for record in RECORDS:
        if record.factory in known - COMPOSITION:
            known |= record.parts
    assert [name for name in FACTORIES if name not in known] == []


def test_every_factory_has_a_doctest():
    def calls(name):
        lines = (inspect.getdoc(FUNCTIONS[name]) or "").splitlines()
        return any(re.search(rf"\b{name}\(", line) for line in lines if line.lstrip().startswith((">>>", "...")))

    assert [name for name in FACTORIES if not calls(name)] == []
