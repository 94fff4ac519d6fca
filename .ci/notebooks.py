"""Execute notebooks, two at a time: `python .ci/notebooks.py colabs/*.ipynb`. The first error ends it.

What they printed and drew goes to `build/notebooks`, for the site.
"""

import concurrent.futures
import multiprocessing
import sys
import time
from pathlib import Path

import nbclient
import nbformat


def execute(path):
    """What was run, and for how long."""
    begin = time.perf_counter()
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    folder = Path("build/notebooks")
    folder.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, folder / Path(path).name)
    cells = sum(cell.cell_type == "code" for cell in notebook.cells)
    return f"{path}: {cells} code cells, {time.perf_counter() - begin:.0f} s"


if __name__ == "__main__":
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=spawn) as pool:
        for line in pool.map(execute, sys.argv[1:]):
            print(line, flush=True)
