"""Build the site: `python docs/build.py`, then look at it: `python -m http.server -d build/site`."""

import os
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent

if __name__ == "__main__":
    sys.path[:0] = [str(DOCS), str(DOCS.parent)]
    from sitebuild.pages import write

    write(DOCS.parent / "build" / "pages")
    paths = os.pathsep.join([str(DOCS), str(DOCS.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": paths, "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict"]
    sys.exit(subprocess.run(command, cwd=DOCS.parent, env=environment).returncode)
