import re
from pathlib import Path

import pytest

import lrx

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


def test_every_name_in_the_table_exists():
    table = README.read_text().split("## What there is")[1].split("##")[0]
    for name in re.findall(r"`([a-z_]+)`", table):
        assert hasattr(lrx, name), name
