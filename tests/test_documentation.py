"""The documentation: its commands and Python run as shown, its links lead somewhere, its numbers are the code's."""

import contextlib
import io
import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from cspine.cli import app
from cspine.core.anatomy import TARGETS, VERTEBRAE

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

PAGES = [
    ROOT / "README.md",
    *(DOCS / "get-started" / f"{name}.md" for name in ("install", "first-study", "read-the-report", "first-training")),
    *sorted((DOCS / "how-to").glob("*.md")),
]
"""Pages whose commands and Python are run, in this order, in one folder."""

BLOCK = re.compile(r"```(console|python)\n(.*?)```", re.DOTALL)

TINY = {"--studies": 8, "--epochs": 1, "--phantoms": 1, "--matrix": 64, "--bootstrap-samples": 100}
"""Options whose numbers are lowered to these, so that all pages run in a minute."""

ALWAYS = {"synth": ["--workers", "1"], "compile": ["--workers", "1"], "evaluate": ["--bootstrap-samples", "100"]}
"""Options that are added to a command."""

N_VIEWS = "1,3"
"""Numbers of views that `ablate` compares; its page shows more."""


def documented_blocks(page: Path) -> list[tuple[str, str]]:
    """Return the language and text of a page's blocks that are run."""
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def documented_commands(text: str) -> list[list[str]]:
    """Return the arguments of each ``cspine`` command of a console block."""
    lines = text.replace("\\\n", " ").splitlines()
    return [shlex.split(line)[1:] for line in lines if line.startswith("cspine ")]


def shortened(arguments: list[str]) -> list[str]:
    """Return a command's arguments with fewer studies, epochs and pixels."""
    short = list(arguments)
    for option, most in TINY.items():
        if option in short:
            at = short.index(option) + 1
            short[at] = str(min(int(short[at]), most))
    if short[0] == "ablate":
        short[short.index("--views") + 1] = N_VIEWS
    return [*short, *ALWAYS.get(short[0], [])]


def run_command(arguments: list[str], page: Path) -> None:
    """Run a command of a page in this process; any exit code but 0 fails the test."""
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, f"{page.name}: cspine {' '.join(arguments)}: {result.output}"


@pytest.fixture
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with the data that the pages suppose; tiny phantoms stand for all of them."""
    from cspine.phantom import DOMAINS

    for name, settings in DOMAINS.items():
        coarse = settings.model_copy(update={"slice_spacing_mm": (2.0, 2.5), "odd_matrix_fraction": 0.0})
        monkeypatch.setitem(DOMAINS, name, coarse)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CSPINE_WEIGHTS", str(tmp_path / "registry"))
    for command in documented_commands((DOCS / "get-started" / "first-training.md").read_text(encoding="utf-8")):
        if command[0] == "synth":
            run_command(shortened(command), DOCS / "get-started" / "first-training.md")
    studies = sorted((tmp_path / "phantom-test" / "train_images").iterdir())
    shutil.copytree(studies[0], tmp_path / "study")
    shutil.copytree(tmp_path / "phantom-test" / "train_images", tmp_path / "studies")
    shutil.copytree(tmp_path / "phantom", tmp_path / "rsna")
    write_random_predictions(tmp_path / "phantom" / "train.csv", tmp_path / "A.csv")
    write_random_predictions(tmp_path / "phantom-test" / "train.csv", tmp_path / "B.csv")
    return tmp_path


def write_random_predictions(labels: Path, path: Path) -> None:
    """Write a table of predictions that separates the labels a little."""
    truth = pd.read_csv(labels).set_index("StudyInstanceUID")[list(TARGETS)]
    random = np.random.default_rng(0).random(truth.shape)
    (0.2 * truth + 0.8 * random).to_csv(path)


def repeat_findings(source: Path, target: Path, studies: int = 20) -> None:
    """Write findings of many studies, copies of a few: drift is not assessed on fewer."""
    findings = [path.read_text(encoding="utf-8") for path in sorted(source.glob("*/findings.json"))]
    for number in range(studies):
        (target / str(number)).mkdir(parents=True)
        study = json.loads(findings[number % len(findings)]) | {"study_instance_uid": f"1.2.{number}"}
        (target / str(number) / "findings.json").write_text(json.dumps(study), encoding="utf-8")


@pytest.mark.slow
def test_commands_and_python_run_as_shown(working_folder: Path) -> None:
    commands = set()
    for page in PAGES:
        if page.stem == "monitor-drift":
            for period in ("findings-2025", "findings-march"):
                repeat_findings(working_folder / "result", working_folder / period)
        for language, text in documented_blocks(page):
            if language == "python":
                with contextlib.redirect_stdout(io.StringIO()):
                    exec(compile(text, page.name, "exec"), {"__name__": page.stem})
                continue
            for arguments in documented_commands(text):
                commands.add(next(name for name in arguments if not name.startswith("-")))
                run_command(shortened(arguments), page)

    assert commands >= {str(command.name) for command in app.registered_commands} - {"weights", "demo"}
    assert (working_folder / "submission.csv").read_text(encoding="utf-8").startswith("row_id,fractured\n")
    assert (working_folder / "result" / "worklist.csv").is_file()
    assert "not clinical accuracy" in (working_folder / "evaluation" / "evaluation.md").read_text(encoding="utf-8")
    assert (working_folder / "split.json.holdout_access.jsonl").is_file()
    assert (working_folder / "result-pacs" / "dicom" / "report.dcm").is_file()


def test_every_page_of_get_started_and_how_to_is_run() -> None:
    assert {page.parent.name for page in PAGES} == {ROOT.name, "get-started", "how-to"}
    assert set(PAGES) >= {*(DOCS / "get-started").glob("*.md"), *(DOCS / "how-to").glob("*.md")}


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


def test_links_lead_to_files() -> None:
    pages = [*ROOT.glob("*.md"), *DOCS.rglob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"


def test_every_page_is_in_the_navigation_and_linked_from_the_home_page() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    home = (DOCS / "index.md").read_text(encoding="utf-8")
    for page in DOCS.rglob("*.md"):
        name = page.relative_to(DOCS).as_posix()
        assert name in navigation, f"{name} is not in mkdocs.yml"
        assert name == "index.md" or f"({name})" in home, f"docs/index.md does not link to {name}"


def test_pages_show_options_that_exist() -> None:
    known = {option for command in _click_group().commands.values() for option in _options(command.params)}
    known |= set(_options(_click_group().params)) | {"--help"}
    for page in [ROOT / "README.md", *DOCS.rglob("*.md")]:
        text = page.read_text(encoding="utf-8")
        blocks = re.findall(r"```(?:console|sh|text)\n(.*?)```", text, re.DOTALL)
        shown = [line for block in blocks for line in block.splitlines() if line.startswith("cspine ")]
        shown += re.findall(r"`cspine ([^`]*)`", text)
        for line in shown:
            for option in re.findall(r"(?<!\S)--[a-z][a-z-]*", line):
                assert option in known, f"{page.relative_to(ROOT)} shows {option}"


def _click_group() -> Any:
    import typer.main

    return typer.main.get_command(app)


def _options(params: list[Any]) -> list[str]:
    return [name for param in params for name in [*param.opts, *param.secondary_opts] if name.startswith("--")]


def test_error_codes_of_the_source_are_documented() -> None:
    page = (DOCS / "reference" / "error-codes.md").read_text(encoding="utf-8")
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src" / "cspine").rglob("*.py"))
    raised = set(re.findall(r'NotAssessableError\(\s*"([a-z-]+)"', source))

    assert raised >= {"too-thick", "no-cervical-spine"}
    for code in raised:
        assert f"| `{code}` |" in page, code


def test_the_phantoms_page_runs_in_ten_lines() -> None:
    page = (DOCS / "concepts" / "phantom.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}

    exec(block, names)

    assert len([line for line in block.splitlines() if line.strip()]) <= 10
    assert (names["scan"].fracture_mask > 0).any()
    assert names["scan"].hu.shape == names["scan"].labels.shape


def test_the_phantoms_page_states_the_domains_as_they_are() -> None:
    from cspine.phantom import DOMAINS

    page = (DOCS / "concepts" / "phantom.md").read_text(encoding="utf-8")
    rows = {
        "age, years": "age_years",
        "width of fracture lines, mm": "fracture_width_mm",
        "field of view, mm": "field_of_view_mm",
        "slice spacing, mm": "slice_spacing_mm",
        "thickness over spacing": "thickness_to_spacing_ratio",
        "kernel's 50 % MTF, cycles per mm": "mtf50_per_mm",
        "edge enhancement": "edge_enhancement",
        "noise, HU": "noise_hu",
        "noise and streaks of the shoulders": "photon_starvation",
    }
    for label, name in rows.items():
        (cells,) = re.findall(rf"^\| {re.escape(label)} \| (.*?) \| (.*?) \|$", page, re.MULTILINE)
        for cell, domain in zip(cells, ("source", "shifted"), strict=True):
            low, high = (float(part) for part in cell.split(" to "))
            assert (low, high) == getattr(DOMAINS[domain], name), label


def test_the_challenge_metrics_page_states_the_losses_of_constants() -> None:
    from cspine.core.anatomy import CHALLENGE_POSITIVES, CHALLENGE_STUDIES

    prevalence = {target: CHALLENGE_POSITIVES[target] / CHALLENGE_STUDIES for target in TARGETS}
    page = (DOCS / "concepts" / "challenge-metric.md").read_text(encoding="utf-8")

    assert f"{CHALLENGE_STUDIES:,} studies ({CHALLENGE_POSITIVES['patient_overall']} fractured)" in page
    intact = 1 - sum(prevalence.values()) / len(TARGETS)
    assert f"right for {100 * intact:.1f} % of the labels" in page
    assert set(VERTEBRAE) < set(prevalence)
