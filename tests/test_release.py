"""What is released: the files in it, the version in one place, how names are retired."""

import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import lrx
from lrx._deprecation import deprecated

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "-o", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def test_the_wheel_has_the_library_and_nothing_else(built):
    [wheel] = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    meta = f"lrx-{lrx.__version__}.dist-info/"
    listed = ["METADATA", "WHEEL", "entry_points.txt", "licenses/LICENSE", "RECORD"]
    assert {name for name in names if name.startswith(meta)} == {meta + name for name in listed}
    code = {str(p.relative_to(ROOT).as_posix()) for p in (ROOT / "lrx").rglob("*.py")} | {"lrx/py.typed"}
    assert {name for name in names if not name.startswith(meta)} == code


def test_the_sdist_is_what_a_user_needs_to_build_test_and_read_it(built):
    [sdist] = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "colabs/01_quickstart.ipynb"} <= names
    assert {"tests/conftest.py", "mkdocs.yml", "docs/index.md", "CITATION.cff"} <= names
    odd = [n for n in names if re.search(r"__pycache__|\.pyc$|^build/|^\.venv|lrx-report|\.egg-info", n)]
    assert odd == []


def test_twine_would_take_it(built):
    files = [str(file) for file in built.iterdir()]
    result = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", *files], capture_output=True, text=True
    )
    assert result.returncode == 0 and result.stdout.count("PASSED") == 2, result.stdout


def test_the_version_stands_in_one_place():
    version = lrx.__version__
    assert f"version: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()
    assert version not in (ROOT / "pyproject.toml").read_text()


def test_a_name_is_retired_with_a_warning_where_it_is_called():
    @deprecated(since="0.2", removed_in="0.4", instead="lrx.adam(...)")
    def old(x):
        return 2 * x

    with pytest.warns(
        DeprecationWarning, match=r"old\(...\) is deprecated since lrx 0.2 and goes with 0.4: use"
    ) as caught:
        assert old(3) == 6
    assert caught[0].filename == __file__ and old.__name__ == "old"
