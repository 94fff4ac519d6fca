"""The site: its reference has every public name, its formulas can be drawn, the code on its pages runs."""

import ast
import importlib
import inspect
import re
import sys
import textwrap
from pathlib import Path

import pytest

import lrx
from lrx import _from_optax, _optax_names

ROOT = Path(__file__).parent.parent
GUIDE = sorted((ROOT / "docs").rglob("*.md"))


@pytest.fixture
def sitebuild(monkeypatch):
    """Import a module of the site's builder."""
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    yield lambda name: importlib.import_module(f"sitebuild.{name}")
    for name in [name for name in sys.modules if name.startswith("sitebuild")]:
        del sys.modules[name]


@pytest.mark.parametrize("page", GUIDE, ids=lambda page: page.stem)
def test_python_blocks_of_a_page_run_one_after_another(page, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    namespace = {}
    for block in re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
        exec(compile(block, page.name, "exec"), namespace)


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert [page for page in GUIDE if str(page.relative_to(ROOT / "docs").as_posix()) not in navigation] == []
    assert [p.stem for p in (ROOT / "colabs").glob("*.ipynb") if f"notebooks/{p.stem}.md" not in navigation] == []


def test_the_reference_has_every_public_name_once(sitebuild):
    reference = sitebuild("reference")
    listed = [name for members in reference.names().values() for name in members]
    assert len(listed) == len(set(listed))
    public = {name for name in dir(lrx) if not name.startswith("_") and not inspect.ismodule(getattr(lrx, name))}
    optax_names = {*vars(_from_optax), *_optax_names.__all__}
    assert public - set(listed) - optax_names == set()
    assert set(listed) <= public
    inside = {path.stem for path in (ROOT / "lrx" / "integrations").iterdir() if not path.name.startswith("_")}
    assert inside == set(reference.INTEGRATIONS)
    assert "::: lrx.integrations.optuna.SearchSampler" in reference.integrations()


def formulas():
    """The blocks after `::` in the docstrings of public functions and classes."""
    for file in sorted((ROOT / "lrx").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and (text := ast.get_docstring(node)):
                for match in re.finditer(r"::\n\n((?:  +.*\n|\n)+)", text + "\n"):
                    yield f"{file.name}:{node.name}", textwrap.dedent(match[1].rstrip())


def test_formulas_become_mathml(sitebuild):
    maths = sitebuild("maths")
    blocks = list(formulas())
    assert len(blocks) > 200
    for name, block in blocks:
        rows = len([line for line in block.splitlines() if line.strip()])
        assert maths.block(block.splitlines()).count("<mtr>") == rows, name


@pytest.mark.parametrize(
    ("line", "latex"),
    [
        (
            "m_t = b1·m_{t−1} + (1 − b1)·g_t",
            [r"m_{t} = \text{b1}\cdot m_{t-1} + \left(1 - \text{b1}\right)\cdot g_{t}"],
        ),
        (
            "u = g · min(1, max_norm / ‖g‖)",
            [r"u = g \cdot \operatorname{min}\left(1, \frac{\text{max_norm}}{\left\Vert g\right\Vert }\right)"],
        ),
        ("√ŝ_t / (a + b)²", [r"\frac{\sqrt{\hat{s}_{t}}}{\left(a + b\right)^{2}}"]),
        ("η(t) = end_value      for t ≥ T", [r"\eta \left(t\right) = \text{end_value}", r"\text{for} t \ge  T"]),
        ("c = μ_1 ⋯ μ_t,   b2^t", [r"c = \mu _{1} \cdots  \mu _{t},", r"\text{b2}^{t}"]),
    ],
)
def test_latex_of_a_line(sitebuild, line, latex):
    def plain(text):
        return text.replace("~", "").replace(" ", "")

    assert [plain(x) for x in sitebuild("maths").latex(line)] == [plain(x) for x in latex]


def test_docstrings_link_names_and_keep_code(sitebuild):
    docstrings = sitebuild("docstrings").Docstrings()
    text = docstrings.markdown(
        "See `adam` and `nothing`, θ_t.\n\n>>> lrx.adam(`x`)\n\nWith x::\n\n  u_t = √g_t\n\nEnd."
    )
    assert "[`adam`][lrx.adam] and `nothing`, <var>θ<sub>t</sub></var>" in text
    assert ">>> lrx.adam(`x`)" in text and "<msqrt>" in text and "::" not in text
