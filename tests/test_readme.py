import re
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"


def test_python_blocks_run_one_after_another(capsys):
    namespace = {}
    blocks = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 3
    for block in blocks:
        exec(compile(block, "README.md", "exec"), namespace)
    assert "too_low" in capsys.readouterr().out


def test_its_links_lead_to_files():
    links = re.findall(r"\]\(([^)#:]+)\)", README.read_text())
    assert len(links) > 15
    assert [link for link in links if not (README.parent / link).exists()] == []
