"""The version comes from the installed package."""

import subprocess
import sys

import cspine


def test_the_version_is_that_of_the_package() -> None:
    assert cspine.__version__[0].isdigit()


def test_a_source_tree_that_is_not_installed_still_runs() -> None:
    script = (
        "import importlib.metadata as m\n"
        "def missing(name):\n    raise m.PackageNotFoundError(name)\n"
        "m.version = missing\n"
        "import cspine; print(cspine.__version__)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0+unknown"
