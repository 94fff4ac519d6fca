"""The parts of a page that holds charts and needs no other file."""

import base64
from html import escape

HEAD = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>lrx: $title</title>
<style>
:root { --ink: #222; --soft: #666; --line: #ddd; --page: #fff; --box: #f4f5f7; --mark: #e3f0fa; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e4e4; --soft: #a0a0a0; --line: #3a3a3a; --page: #161616; --box: #222; --mark: #12324a; }
  img { filter: invert(1) hue-rotate(180deg); mix-blend-mode: screen; }
}
body { margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 46rem; color: var(--ink); background: var(--page);
  font: 1rem/1.55 system-ui, sans-serif; }
header { color: var(--soft); }
h1 { font-size: 1.6rem; line-height: 1.25; margin: .3rem 0 1rem; text-wrap: balance; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
pre { background: var(--box); padding: .9rem 1rem; border-radius: 6px; white-space: pre-wrap; overflow-wrap: anywhere;
  font: .875rem/1.5 ui-monospace, monospace; user-select: all; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .875rem; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .9rem .35rem 0; text-align: left; white-space: nowrap; border-bottom: 1px solid var(--line); }
th, .section, .note, figcaption, dt { color: var(--soft); font-weight: normal; }
.section td { padding-top: 1rem; }
.chosen { background: var(--mark); font-weight: 600; }
td:first-child, th:first-child { padding-left: .5rem; }
.note, figcaption { font-size: .875rem; }
figure { margin: 1.6rem 0; }
img { display: block; width: 100%; height: auto; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; }
dd { margin: 0; }
</style>
</head>
<body>
"""
"""The start of a page, until its header, for `string.Template`: `$title` is to be filled in."""


def picture(image: bytes, caption: str) -> str:
    """A chart as PNG within the page, with what is seen on it."""
    text, data = escape(caption), base64.b64encode(image).decode()
    return f'<figure><img alt="{text}" src="data:image/png;base64,{data}"><figcaption>{text}</figcaption></figure>'
