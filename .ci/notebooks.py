"""Execute notebooks: `python .ci/notebooks.py colabs/*.ipynb`. The first error ends it."""

import sys
import time

import nbclient
import nbformat

for path in sys.argv[1:]:
    begin = time.perf_counter()
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    cells = sum(cell.cell_type == "code" for cell in notebook.cells)
    print(f"{path}: {cells} code cells, {time.perf_counter() - begin:.0f} s", flush=True)
