"""An extension of Griffe: the docstrings of lrx as Markdown, with formulas drawn and names linked."""

import re
import textwrap
from typing import Any

import griffe

from . import maths

BLOCK = re.compile(r"::\n\n((?:(?: +.*)?\n)+?)(?=\S|\Z)")
CODE = re.compile(r'lrx\.|"""|^\s*(tx|def|import|from|for) |>>>', re.MULTILINE)
SYMBOL = re.compile(r"(?<![\w`/.])([^\W\d_][\u0302-\u0305]?)_(\{[^}]+\}|[\w∞])(?![\w`])")
NAME = re.compile(r"(?<![`\w\[])`([a-z]\w+)`(?!`)")


class Docstrings(griffe.Extension):
    """Formulas after `::` become MathML, and `name` a link where lrx has that public name."""

    def __init__(self) -> None:
        import lrx

        self.public = {name for name in dir(lrx) if not name.startswith("_") and callable(getattr(lrx, name))}

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrite the docstring."""
        del kwargs
        if obj.docstring is not None:
            obj.docstring.value = self.markdown(obj.docstring.value, obj.name)

    def markdown(self, text: str, name: str = "") -> str:
        """A docstring as Markdown."""
        text = BLOCK.sub(_block, text + "\n").rstrip()

        def link(match: re.Match[str]) -> str:
            target = match[1]
            return f"[`{target}`][lrx.{target}]" if target in self.public and target != name else match[0]

        lines = []
        for line in text.splitlines():
            code = line.lstrip().startswith((">>>", "...", "<math"))
            if not code:
                line = SYMBOL.sub(lambda m: f"<var>{m[1]}<sub>{m[2].strip('{}')}</sub></var>", NAME.sub(link, line))
            lines.append(line)
        return "\n".join(lines)


def _block(match: re.Match[str]) -> str:
    body = textwrap.dedent(match[1]).strip("\n")
    indent = " " * (len(match[1]) - len(match[1].lstrip(" \n")) - 2 if match[1].strip() else 0)
    drawn = "```python\n" + body + "\n```" if CODE.search(body) else maths.block(body.splitlines())
    return ":\n\n" + textwrap.indent(drawn, indent if "\n" not in indent else "") + "\n\n"
