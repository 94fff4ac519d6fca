import inspect
import re
from pathlib import Path

import pytest

import lrx
from lrx import _from_optax, _optax_names

pytestmark = pytest.mark.usefixtures("cheap_module")
README = Path(__file__).parent.parent / "README.md"


def test_python_blocks_run_one_after_another(capsys):
    namespace = {}
    blocks = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) > 4
    for block in blocks:
        exec(compile(block, "README.md", "exec"), namespace)
    out = capsys.readouterr().out
    assert "too_low" in out
    assert "Tuned(" in out


def test_python_blocks_of_coming_from_run_one_after_another():
    page, namespace = README.parent / "docs" / "coming-from.md", {}
    blocks = re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 6
    for block in blocks:
        exec(compile(block, page.name, "exec"), namespace)


def test_the_table_has_every_public_name_and_no_other():
    table = README.read_text().split("## What there is")[1].split("##")[0]
    named = set(re.findall(r"`([A-Za-z_0-9]+)`", table))
    assert [name for name in named if not hasattr(lrx, name)] == []
    left_out = {name for name, x in vars(lrx).items() if not name.startswith("_") and name not in named}
    left_out -= {*vars(_from_optax), *_optax_names.__all__}
    # `scale_by_…` stands for many; modules of ours that are not public have no public name
    left_out = {name for name in left_out if not name.startswith("scale_by_") and not inspect.ismodule(vars(lrx)[name])}
    assert left_out == set()
