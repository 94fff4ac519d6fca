"""The pages of the reference: every public name, in the groups of `lrx/__init__.py` and `lrx/_late.py`."""

import ast
import importlib
import inspect
import io
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import lrx
from lrx._pytree import factory_name

ROOT = Path(__file__).resolve().parents[2]

GROUPS = {
    "schedules": ("Schedules", "Pure functions of the number of updates. Every curve is exact at its landmarks."),
    "the algebra of schedules": (
        "Algebra of schedules",
        "Schedules made of schedules; `*`, `/`, `+` and `-` work too.",
    ),
    "optimizers": ("Optimizers", "Each is a chain of its update rule and `scale_by_learning_rate`."),
    "update rules": ("Update rules", "What optimizers are made of, to be chained by hand."),
    "learning rates that adapt to training feedback": (
        "Controllers",
        "Learning rates that adapt to training feedback, in the place of a number or a schedule.",
    ),
    "optimizers that estimate their own rate": ("Without a rate", "Optimizers that estimate their own learning rate."),
    "their composition": ("Composition", "Chains, groups of parameters, accumulation, averages, clipping, decay."),
    "the state of an optimizer: read it, edit it, resume from it": (
        "State",
        "Read any number in an optimizer's state, change it, resume from a checkpoint.",
    ),
    "choosing a rate": ("Choosing", "Finding, searching, sweeping, halving, tuning."),
    "what a run shows: logs, verdicts, meters": ("The doctor", "Logs, verdicts, meters, and records of losses."),
    "from evidence and across scale": (
        "Evidence and scale",
        "Loss laws, schedules from gradients, transfers, μP and published laws.",
    ),
    "charts": ("Charts and conversions", "Pictures of plain arrays, and the recipes of other libraries."),
}
RULES = ("scale", "trace", "ema")


def names() -> dict[str, list[str]]:
    """Public names of lrx's own, group -> names in the order of the alphabet."""
    found: dict[str, list[str]] = {}
    for file in ("__init__.py", "_late.py"):
        _add_names(found, (ROOT / "lrx" / file).read_text(encoding="utf-8"))
    return {group: sorted(found[group], key=str.lower) for group in GROUPS if group in found}


def _add_names(found: dict[str, list[str]], source: str) -> None:
    """Add what a file imports, under the comment above it."""
    comments = [(i, line[2:]) for i, line in enumerate(source.splitlines(), 1) if line.startswith("# ")]
    for node in ast.parse(source).body:
        if not isinstance(node, ast.ImportFrom) or node.names[0].name == "*":
            continue
        group = next((text for i, text in reversed(comments) if i < node.lineno and text in GROUPS), None)
        for alias in node.names:
            name = alias.asname or alias.name
            if name.startswith("_") or group is None or isinstance(getattr(lrx, name), ModuleType):
                continue
            is_rule = group == "optimizers" and name.startswith(RULES)
            found.setdefault("update rules" if is_rule else group, []).append(name)


MODULES = ("laws", "problems", "convert", "charts", "extend", "contrib", "transforms")
"""Public modules that have a page of their own."""


INTEGRATIONS = ("optuna",)
"""Modules of `lrx.integrations`."""


def public(module: ModuleType) -> list[str]:
    """The functions and classes that a module offers."""
    listed = getattr(module, "__all__", None) or [n for n in vars(module) if not n.startswith("_")]
    mine = [n for n in listed if inspect.isfunction(getattr(module, n)) or inspect.isclass(getattr(module, n))]
    return sorted((n for n in mine if getattr(module, n).__module__.startswith("lrx")), key=str.lower)


def slug(title: str) -> str:
    """A title as the name of a file."""
    return title.lower().replace(" ", "-")


def pages() -> dict[str, tuple[str, str]]:
    """Path under `reference/` -> (title, Markdown)."""
    result = {}
    shown = pictures()
    for group, members in names().items():
        title, intro = GROUPS[group]
        lines = [f"# {title}", "", intro, ""]
        if group == "schedules":
            lines += ["::: lrx.schedules", "    options:", "      members: false", "      show_root_heading: false", ""]
        for name in members:
            lines += [f"::: lrx.{name}", ""]
            if name in shown:
                lines += [f"![{name} over the steps](../pictures/{name}.svg){{ .curve loading=lazy }}", ""]
        result[f"{slug(title)}.md"] = title, "\n".join(lines)
    for name in MODULES:
        module = getattr(lrx, name)
        lines = [f"# lrx.{name}", "", f"::: lrx.{name}", "    options:", "      members: false"]
        lines += ["      show_root_heading: false", ""]
        if name in ("laws", "problems", "convert", "charts"):
            for member in public(module):
                lines += [f"::: lrx.{name}.{member}", ""]
        result[f"{name}.md"] = f"lrx.{name}", "\n".join(lines)
    result["integrations.md"] = "lrx.integrations", integrations()
    return result


def integrations() -> str:
    """The page of what lrx is inside of other tools: modules that `lrx` does not import."""
    lines = ["# lrx.integrations", ""]
    for name in INTEGRATIONS:
        lines += [f"::: lrx.integrations.{name}", "    options:", "      members: false", ""]
        module = importlib.import_module(f"lrx.integrations.{name}")
        for member in public(module):
            lines += [f"::: lrx.integrations.{name}.{member}", ""]
    return "\n".join(lines)


def pictures() -> dict[str, Any]:
    """A schedule of each factory that the gallery draws."""
    import runpy

    gallery = runpy.run_path(str(ROOT / "docs" / "gallery.py"))["GALLERY"]
    found: dict[str, Any] = {}
    for schedule in gallery.values():
        found.setdefault(factory_name(schedule), schedule)
    return {name: schedule for name, schedule in found.items() if hasattr(lrx, name)}


def picture(schedule: Any, steps: int = 1000) -> bytes:
    """A small curve as SVG, in a colour that is seen on light and on dark."""
    figure = Figure(figsize=(4.2, 1.5), layout="constrained")
    axes = figure.subplots()
    steps = 64 if type(schedule).__name__ == "Chebyshev" else steps
    counts = np.arange(steps + 1)
    axes.plot(counts, np.asarray(schedule(counts)), color="#0072b2", linewidth=1.6, drawstyle="steps-post")
    axes.set_ylim(bottom=0)
    axes.tick_params(colors="#7a7a7a", labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#9a9a9a")
    out = io.BytesIO()
    figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    return out.getvalue()


def index() -> str:
    """All public names on one page."""
    lines = ["# Reference", "", "Every public name of lrx, in the groups of its pages.", ""]
    for group, members in names().items():
        title, intro = GROUPS[group]
        lines += [f"## [{title}]({slug(title)}.md)", "", intro, ""]
        lines += [" · ".join(f"[`{name}`][lrx.{name}]" for name in members), ""]
    lines += ["## Modules", ""]
    lines += [" · ".join(f"[`lrx.{name}`]({name}.md)" for name in (*MODULES, "integrations")), ""]
    return "\n".join(lines)
