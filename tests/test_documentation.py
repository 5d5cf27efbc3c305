"""The documentation: its commands and Python run as shown, its links lead somewhere, its numbers are the code's."""

import builtins
import contextlib
import gzip
import importlib.util
import io
import json
import logging
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import cspine
from cspine.cli import app
from cspine.core.anatomy import TARGETS, VERTEBRAE, Level
from cspine.core.not_assessable import REMEDIES

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

PAGES = [
    ROOT / "README.md",
    *(DOCS / "get-started" / f"{name}.md" for name in ("install", "first-study", "read-the-report", "first-training")),
    *sorted((DOCS / "how-to").glob("*.md")),
    *(page for page in sorted((DOCS / "concepts").glob("*.md")) if page.stem != "phantom"),  # it has a test of its own
]
"""Pages whose commands and Python are run, in this order, in one folder."""

BLOCK = re.compile(r"```(console|python)\n(.*?)```", re.DOTALL)

TINY = {"--epochs": 1, "--phantoms": 1, "--matrix": 64, "--workers": 1}
"""Options whose numbers are lowered to these, so that all pages run in a minute."""

REPLACED = {
    "--train-views": "1,1,1",
    "--eval-views": "1,1,1",
    "--views": "1",  # of `ablate`
    "--init-weights": "run-levels/weights.onnx",  # of the same few views
}
"""Options whose values are replaced."""

ADDED = {
    "ablate": ["--epochs", "1"],
    "compile": ["--views", "1,1,1"],
    "calibrate": ["--bootstrap-samples", "100"],
    "evaluate": ["--bootstrap-samples", "100"],
    "robustness": ["--weights", "run-levels/weights.onnx"],  # of few views, too
    "split": ["--fractions", "0.5,0.25,0,0.25"],
}
"""Options that are added to a command."""

PARALLEL = {"import", "synth", "insert", "compile", "predict", "run", "robustness", "ablate", "deidentify"}
"""Commands that are run in this process alone: starting others takes longer than such small studies."""

SMALLER = {
    "rows=(100, 400), slices=(20, 60)": "rows=(10, 40), slices=(2, 6)",
    'evaluate_robustness("rsna/", "robustness-python"': 'evaluate_robustness("phantom-test", "robustness"',
    '"ablation-python"': '"ablation"',
}
"""Python of the pages that is replaced: studies are that small, and a run of another page is resumed."""

N_STUDIES = {"phantom": 4, "phantom-test": 2}
"""Studies of the data sets that the pages share; with the pages' seeds, half of them are fractured."""


def documented_blocks(page: Path) -> list[tuple[str, str]]:
    """Return the language and text of a page's blocks that are run."""
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def documented_commands(text: str) -> list[list[str]]:
    """Return the arguments of each ``cspine`` command of a console block."""
    lines = text.replace("\\\n", " ").splitlines()
    return [shlex.split(line)[1:] for line in lines if line.startswith("cspine ")]


def shortened(arguments: list[str]) -> list[str]:
    """Return a command's arguments with fewer studies, epochs, views and pixels."""
    short = list(arguments)
    for at, option in enumerate(arguments[:-1]):
        if option in TINY:
            short[at + 1] = str(min(int(arguments[at + 1]), TINY[option]))
        elif option in REPLACED:
            short[at + 1] = REPLACED[option]
        elif option == "--studies":
            short[at + 1] = str(N_STUDIES[arguments[arguments.index("--out") + 1]])
    if short.count("--perturbation") > 1:
        short = short[: short.index("--perturbation") + 2]
    if short[0] in PARALLEL and "--workers" not in short:
        short += ["--workers", "1"]
    if "localizer" in short:
        short += ["--batch-size", "1"]  # of three volumes
    return short + ADDED.get(short[0], [])


def run_command(arguments: list[str], page: Path) -> None:
    """Run a command of a page in this process; any exit code but 0 fails the test."""
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, f"{page.name}: cspine {' '.join(arguments)}: {result.output}"


def run_python(text: str, page: Path) -> None:
    """Run a block of Python of a page, without its output."""
    for shown, smaller in SMALLER.items():
        text = text.replace(shown, smaller)
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(text, page.name, "exec"), {"__name__": page.stem})


@pytest.fixture
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a folder with the data that the pages suppose; tiny phantoms stand for all of them."""
    from cspine.experiments.perturbations import PERTURBATIONS
    from cspine.phantom import DOMAINS

    for domain, settings in DOMAINS.items():
        coarse = {"slice_spacing_mm": (2.8, 3.0), "odd_matrix_fraction": 0.0, "truncated_fraction": 0.0}
        monkeypatch.setitem(DOMAINS, domain, settings.model_copy(update=coarse))
    for name, perturbation in PERTURBATIONS.items():
        monkeypatch.setitem(PERTURBATIONS, name, replace(perturbation, severities=perturbation.severities[:1]))
    monkeypatch.setattr("cspine.pipelines.train.default_workers", lambda: 1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CSPINE_WEIGHTS", str(tmp_path / "registry"))
    page = DOCS / "get-started" / "first-training.md"
    for command in documented_commands(page.read_text(encoding="utf-8")):
        if command[0] == "synth":
            run_command(shortened(command), page)
    copy_studies(tmp_path / "phantom", tmp_path / "rsna", 2)
    copy_studies(tmp_path / "phantom-test", tmp_path / "studies", 2)
    (tmp_path / "studies" / "train.csv").unlink()
    first = next((tmp_path / "studies" / "train_images").iterdir())
    shutil.copytree(first, tmp_path / "study")
    (mask,) = (tmp_path / "phantom-test" / "segmentations").glob(f"{first.name}.nii")
    (tmp_path / "segmentation.nii.gz").write_bytes(gzip.compress(mask.read_bytes()))
    shutil.copy(tmp_path / "phantom" / "train.csv", tmp_path)
    write_random_predictions(tmp_path / "phantom" / "train.csv", tmp_path / "A.csv")
    write_random_predictions(tmp_path / "phantom-test" / "train.csv", tmp_path / "B.csv")
    logger = logging.getLogger("cspine")
    before = logger.handlers[:], logger.level, logger.propagate
    yield tmp_path
    logger.handlers[:], logger.propagate = before[0], before[2]
    logger.setLevel(before[1])


def copy_studies(source: Path, target: Path, count: int) -> None:
    """Copy the first studies of a data set in the challenge's layout."""
    labels = pd.read_csv(source / "train.csv").head(count)
    for uid in labels["StudyInstanceUID"]:
        shutil.copytree(source / "train_images" / uid, target / "train_images" / uid)
        for folder in ("segmentations", "fractures"):
            for path in (source / folder).glob(f"{uid}.*"):
                (target / folder).mkdir(exist_ok=True)
                shutil.copy(path, target / folder)
    labels.to_csv(target / "train.csv", index=False)


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
@pytest.mark.filterwarnings("ignore:No artists with labels")  # a part of one study has no ROC curve
def test_commands_and_python_run_as_shown(working_folder: Path) -> None:
    done: list[object] = []  # pages repeat each other's commands and code
    for page in PAGES:
        if page.stem == "monitor-drift":
            for period in ("findings-2025", "findings-march"):
                repeat_findings(working_folder / "result", working_folder / period)
        if page.stem == "set-operating-points":
            for scans in ("findings-intact", "findings-consecutive"):
                repeat_findings(working_folder / "results", working_folder / scans)
        for language, text in documented_blocks(page):
            if language == "python":
                if text in done:
                    continue
                done.append(text)
                run_python(text, page)
                continue
            for arguments in documented_commands(text):
                if arguments not in done:
                    done.append(arguments)
                    run_command(shortened(arguments), page)

    run = {name for arguments in done if isinstance(arguments, list) for name in arguments}
    assert run >= {command.name for command in app.registered_commands} - {
        "acceptance",  # needs a server: test_acceptance
        "slurm",  # needs Slurm: test_slurm
        "tune",  # trains many networks: test_tune
    }
    assert (working_folder / "submission.csv").read_text(encoding="utf-8").startswith("row_id,fractured\n")
    assert (working_folder / "result" / "worklist.csv").is_file()
    assert "not clinical accuracy" in (working_folder / "evaluation" / "evaluation.md").read_text(encoding="utf-8")
    assert (working_folder / "split.json.holdout_access.jsonl").is_file()
    assert (working_folder / "result-pacs" / "dicom" / "report.dcm").is_file()
    assert (working_folder / "result-run" / "report.dcm").is_file()


def test_every_page_of_get_started_and_how_to_is_run() -> None:
    assert {page.parent.name for page in PAGES} == {ROOT.name, "get-started", "how-to", "concepts"}
    assert set(PAGES) >= {*(DOCS / "get-started").glob("*.md"), *(DOCS / "how-to").glob("*.md")}


def test_every_command_has_help_and_an_example() -> None:
    names = [command.name for command in app.registered_commands]
    assert names == [
        "inspect", "localize", "import", "duplicates", "compile", "synth", "insert", "merge", "slurm", "describe",
        "split", "train", "tune", "evaluate", "robustness", "ablate", "predict", "run", "serve", "acceptance",
        "calibrate", "monitor", "submit", "deidentify", "weights", "demo",
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


EXAMPLES = {"volume_cnn", "nrrd", "verse", "csv", "matthews", "VolumeCnnSettings", "VolumeCnnMetadata"}
"""Names that the guides for contributors invent."""

FOREIGN = {"_mm", "_hu", "_fraction", "_logit", "fullHead", *dir(builtins)}
"""Units as parts of names, and names of others."""


def _code_in(page: Path) -> list[str]:
    """Return the texts in single backticks of a page."""
    outside = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return re.findall(r"`([^`\n]+)`", outside)


def _is_example(text: str) -> bool:
    return any(re.search(rf"(?<![A-Za-z]){name}(?![A-Za-z])", text) for name in EXAMPLES)


PROSE = [*ROOT.glob("*.md"), *DOCS.rglob("*.md")]
NAMED = [page for page in PROSE if page.name != "CHANGELOG.md"]  # which names what is gone


@pytest.mark.parametrize("page", NAMED, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_files_and_modules_that_a_page_names_exist(page: Path) -> None:
    package = ROOT / "src" / "cspine"
    rooms = {path.name for path in package.iterdir() if path.is_dir()}
    for text in _code_in(page):
        if _is_example(text):
            continue
        folder, suffix = text.split("/")[0], Path(text).suffix
        is_output = folder == "evaluation" and suffix != ".py"  # of `cspine evaluate`
        is_path = re.fullmatch(r"\w+/[\w/.-]*", text) and not is_output
        if is_path and folder in rooms | {"tests", "benchmarks", "scripts", "src"}:
            assert (package / text).exists() or (ROOT / text).exists(), text
        if match := re.fullmatch(r"cspine((?:\.[a-z_0-9]+)*)\.(\w+)(?:\(.*)?", text):
            module = importlib.import_module(f"cspine{match[1]}") if match[1] else cspine
            assert hasattr(module, match[2]) or importlib.util.find_spec(text), text
        for program in re.findall(r"python -m ([\w.]+)", text):
            assert importlib.util.find_spec(program), text
        assert not text.startswith("cspine/"), f"{text}: paths are below src/cspine"


@pytest.mark.parametrize(
    "page",
    [page for page in NAMED if page.parent.name in {"concepts", "development", "reference", "api"}],
    ids=lambda page: page.relative_to(ROOT).as_posix(),
)
def test_identifiers_that_a_page_names_are_in_the_code(page: Path, words_of_the_code: frozenset[str]) -> None:
    names = {text for text in _code_in(page) if re.fullmatch(r"[A-Za-z_]\w*", text) and not text.endswith("_")}
    stale = {name for name in names if not _is_example(name)} - words_of_the_code - FOREIGN
    assert not stale


@pytest.fixture(scope="module")
def words_of_the_code() -> frozenset[str]:
    """Return every word of the sources, tests and settings of the project."""
    folders = [ROOT / name for name in ("src", "tests", "benchmarks", "scripts")]
    files = [path for folder in folders for path in folder.rglob("*") if path.suffix in {".py", ".html"}]
    files.remove(Path(__file__))
    texts = (path.read_text(encoding="utf-8") for path in [*files, ROOT / "pyproject.toml", ROOT / "Makefile"])
    return frozenset(word for text in texts for word in re.findall(r"\w+", text))


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
    assert raised <= set(REMEDIES)
    for code in REMEDIES:
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
        "factor on the HU of bone": "bone_contrast",
    }
    for label, name in rows.items():
        (cells,) = re.findall(rf"^\| {re.escape(label)} \| (.*?) \| (.*?) \|$", page, re.MULTILINE)
        for cell, domain in zip(cells, ("source", "shifted"), strict=True):
            low, high = (float(part) for part in cell.split(" to "))
            assert (low, high) == getattr(DOMAINS[domain], name), label
    for disorders in (
        ("collapsed_discs", "large_osteophytes", "worn_facets"),
        ("osteoporosis", "dish", "listhesis"),
        ("anterior_fusion", "posterior_fusion", "laminectomy"),
    ):
        cells = [
            "; ".join(f"{100 * getattr(DOMAINS[domain].disorders, name):g} %" for name in disorders)
            for domain in ("source", "shifted")
        ]
        assert f" | {cells[0]} | {cells[1]} |" in page, disorders
    probabilities = [DOMAINS[domain].mimics.model_dump().values() for domain in ("source", "shifted")]
    source, shifted = (f"{100 * min(each):g} to {100 * max(each):g} %" for each in probabilities)
    assert f"of `MimicSettings` | {source} | {shifted} |" in page


def test_the_phantoms_page_states_proportions_and_measures_as_they_are() -> None:
    from cspine.phantom.anatomy.morphometry import MORPHOMETRY
    from cspine.phantom.anatomy.person import draw_person
    from cspine.phantom.fractures.sites import sites

    page = (DOCS / "concepts" / "phantom.md").read_text(encoding="utf-8")
    person = draw_person(np.random.default_rng(0))
    rows: tuple[tuple[str, Level], ...] = (("C1", "C1"), ("C2", "C2"), ("C3 to C7", "C5"))
    for levels, level in rows:
        proportions = ", ".join(f"{site.fracture_type} {site.proportion:.2f}" for site in sites(level, person))
        assert f"| {levels} | {proportions} |" in page
    for name, by_level in MORPHOMETRY.items():
        means = [f"{by_level[level].mean:g}" if level in by_level else "" for level in VERTEBRAE]
        assert f"| {name} | {' | '.join(means)} | " in page


def test_the_challenge_metrics_page_states_the_losses_of_constants() -> None:
    from cspine.core.anatomy import CHALLENGE_POSITIVES, CHALLENGE_STUDIES

    prevalence = {target: CHALLENGE_POSITIVES[target] / CHALLENGE_STUDIES for target in TARGETS}
    page = (DOCS / "concepts" / "challenge-metric.md").read_text(encoding="utf-8")

    assert f"{CHALLENGE_STUDIES:,} studies ({CHALLENGE_POSITIVES['patient_overall']} fractured)" in page
    intact = 1 - sum(prevalence.values()) / len(TARGETS)
    assert f"right for {100 * intact:.1f} % of the labels" in page
    assert set(VERTEBRAE) < set(prevalence)
