"""Write the pages of the site, those by hand and those that are made. `docs/build.py` calls it, and builds them.

Any builder of Markdown pages that knows mkdocstrings can take it from there: `mkdocs.yml` names the folder.
"""

import re
import shutil
from pathlib import Path

import nbformat

from . import guide, notebooks, reference

ROOT = Path(__file__).resolve().parents[2]
EXECUTED = ROOT / "build" / "notebooks"
"""Where executed notebooks lie; those of the repository, without outputs, are shown otherwise."""
COPIED = {
    "benchmarks.md": ROOT / "benchmarks" / "README.md",
    "changelog.md": ROOT / "CHANGELOG.md",
    "how-lrx-works.md": ROOT / "CONTRIBUTING.md",
}
BOOSTS = {
    "guide/faq.md": 4,
    "guide/": 2,
    "coming-from.md": 2,
    "notebooks/": 0.5,
    "benchmarks.md": 0.2,
    "changelog.md": 0.2,
}
"""How much a page counts in the search, by the start of its path: answers before records."""


def write(folder: Path) -> None:
    """All pages and pictures, in a folder that is made anew."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "docs", folder, ignore=shutil.ignore_patterns("*.py", "sitebuild", "__pycache__"))

    def add(path: str, content: str | bytes) -> None:
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)

    add("reference/index.md", reference.index())
    for path, (_, text) in reference.pages().items():
        add(f"reference/{path}", text)
    for name, schedule in reference.pictures().items():
        add(f"pictures/{name}.svg", reference.picture(schedule))
    for name, drawn in guide.pictures().items():
        add(f"pictures/{name}", drawn)
    for path in sorted((ROOT / "colabs").glob("*.ipynb")):
        executed = EXECUTED / path.name
        text, pictures = notebooks.page(nbformat.read(executed if executed.exists() else path, as_version=4), path.stem)
        add(f"notebooks/{path.stem}.md", text)
        for name, content in pictures.items():
            add(f"notebooks/{name}", content)
    for path, source in COPIED.items():
        add(path, relinked(source.read_text(encoding="utf-8")))
    for picture in sorted((ROOT / "benchmarks" / "results").glob("*.png")):
        add(f"results/{picture.name}", picture.read_bytes())
    for page in folder.rglob("*.md"):
        boosts = [boost for path, boost in BOOSTS.items() if page.relative_to(folder).as_posix().startswith(path)]
        if boosts:
            page.write_text(f"---\nsearch:\n  boost: {boosts[0]}\n---\n\n{page.read_text('utf-8')}", "utf-8")


def relinked(text: str) -> str:
    """Links between files of the repository as links between pages; to what is no page, as plain text."""
    text = text.replace("](benchmarks/README.md)", "](benchmarks.md)").replace("](docs/", "](")
    return re.sub(r"(?<!!)\[([^\]]+)\]\((?!https?:|#|results/|[\w/-]+\.md)[^)]*\)", r"\1", text)
