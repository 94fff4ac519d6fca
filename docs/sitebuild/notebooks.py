"""Notebooks as Markdown: the text, the code, and what was printed and drawn when it was executed."""

import base64
import re
from typing import Any

ANSI = re.compile(r"\x1b\[[0-9;]*m")


def page(notebook: Any, stem: str) -> tuple[str, dict[str, bytes]]:
    """Markdown, and pictures by name."""
    parts: list[str] = []
    files: dict[str, bytes] = {}
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        for output in cell.get("outputs", []):
            parts += _shown(output, f"{stem}-{len(files)}", files)
    return "\n\n".join(parts) + "\n", files


def _shown(output: Any, name: str, files: dict[str, bytes]) -> list[str]:
    if output.output_type == "stream":
        return [f"```text\n{ANSI.sub('', output.text).rstrip()}\n```"]
    data = output.get("data", {})
    if "image/png" in data:
        files[f"{name}.png"] = base64.b64decode(data["image/png"])
        return [f"![what the code above draws]({name}.png)"]
    if "text/plain" in data:
        return [f"```text\n{data['text/plain'].rstrip()}\n```"]
    return []
