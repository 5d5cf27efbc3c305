"""Lower bounds of dependencies that have advisories below them; pip-audit needs a network, this test does not."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

FLOORS = {
    "pydicom": (3, 0, 2),  # path traversal by ReferencedFileID of a DICOMDIR
    "pynetdicom": (3, 0, 4),  # path traversal by the SOPInstanceUID of a C-STORE request
    "requests": (2, 32, 4),  # credentials sent to another host
    "urllib3": (2, 6, 3),  # bodies that decompress to any length
    "python-multipart": (0, 0, 18),  # resource use by malformed forms
    "starlette": (0, 49, 1),  # resource use by forms and ranges
    "monai": (1, 6),  # code execution by loading bundles and checkpoints
    "pillow": (11,),
    "jinja2": (3, 1),
}


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text.partition("+")[0])[:3])


def _requirements() -> dict[str, str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    return {re.split(r"[><=!\[ ]", line)[0].lower(): line for line in lines}


@pytest.mark.parametrize("name", FLOORS)
def test_the_declared_floor_excludes_versions_with_advisories(name: str) -> None:
    lower_bound = re.search(r">=\s*([\d.]+)", _requirements()[name])

    assert lower_bound is not None
    assert _numbers(lower_bound.group(1)) >= FLOORS[name]


@pytest.mark.parametrize("name", FLOORS)
def test_the_installed_version_reaches_the_floor(name: str) -> None:
    assert _numbers(version(name)) >= FLOORS[name]
