"""The commands that the documentation shows are run, in order, as they stand there."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cspine.cli import app

ROOT = Path(__file__).parents[1]


def shown_commands(name: str) -> list[list[str]]:
    """Return the cspine commands of a page's console blocks."""
    blocks = re.findall(r"```console\n(.*?)```", (ROOT / name).read_text("utf-8"), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("cspine ")]
    return [shlex.split(line)[1:] for line in lines]


@pytest.mark.parametrize("page", ["README.md", "docs/commands.md"])
def test_commands_run_as_shown(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CSPINE_WEIGHTS", str(tmp_path / "shelf"))
    commands = shown_commands(page)
    assert len(commands) >= 10

    for command in commands:
        small = ["--matrix", "64"] if command[0] == "synth" else []  # the same way, in little time
        result = CliRunner().invoke(app, [*command, *small], catch_exceptions=False)
        assert result.exit_code == 0, f"cspine {' '.join(command)}: {result.output}"

    assert (tmp_path / "submission.csv").read_text().splitlines()[0] == "row_id,fractured"
    assert len((tmp_path / "submission.csv").read_text().splitlines()) == 1 + 6 * 8
    assert (tmp_path / "result" / "worklist.csv").is_file()
    assert len(list((tmp_path / "result").glob("*/findings.json"))) == 6
    assert "not clinical accuracy" in (tmp_path / "evaluation" / "evaluation.md").read_text()
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"labels.png", "together.png", "geometry.png"}


def test_every_command_has_help_and_an_example() -> None:
    names = [command.name for command in app.registered_commands]
    assert names == [
        "inspect", "localize", "compile", "synth", "describe", "split", "train", "evaluate", "robustness",
        "ablate", "predict", "monitor", "submit", "deidentify", "weights", "demo",
    ]  # fmt: skip
    for name in names:
        result = CliRunner().invoke(app, [str(name), "--help"])
        assert result.exit_code == 0
        assert "Example" in result.output


def test_pages_link_to_what_is_there() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_phantom_is_used_as_its_page_shows() -> None:
    page = (ROOT / "docs/phantom.md").read_text("utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}

    exec(block, names)

    assert len([line for line in block.splitlines() if line.strip()]) <= 10
    assert (names["scan"].fracture_mask > 0).any()
    assert names["scan"].hu.shape == names["scan"].labels.shape


def test_the_phantoms_page_tells_the_domains_as_they_are() -> None:
    from cspine.phantom import DOMAINS

    page = (ROOT / "docs/phantom.md").read_text("utf-8")
    rows = {
        "age, years": "age_years",
        "width of cracks, mm": "gap_mm",
        "field, mm": "field_mm",
        "between slices, mm": "slice_spacing_mm",
        "thickness over spacing": "overlap",
        "kernel passes half at, per mm": "resolution_per_mm",
        "edge enhancement": "edge",
        "noise, HU": "noise_hu",
        "shoulders": "shoulders",
    }
    for label, name in rows.items():
        (cells,) = re.findall(rf"^\| {re.escape(label)} \| (.*?) \| (.*?) \|$", page, re.MULTILINE)
        for cell, domain in zip(cells, ("source", "shifted"), strict=True):
            low, high = (float(part) for part in cell.split(" to "))
            assert (low, high) == getattr(DOMAINS[domain], name), label
