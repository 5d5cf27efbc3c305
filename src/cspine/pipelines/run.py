"""Run as a step of an orchestrator: a folder of DICOM in, flat DICOM objects and ``result.json`` out.

mercure, MONAI Deploy, Kaapana, XNAT and Grand Challenge differ in how they name the folders, and agree on the rest: one
command, no network, any user, a root file system that is read-only, and an exit code.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cspine
from cspine.core.anatomy import RESEARCH_USE_ONLY
from cspine.core.errors import CspineError, OutputError
from cspine.core.files import complete_files, write_json
from cspine.core.findings import Findings
from cspine.core.not_assessable import FAILED, remedy_of
from cspine.core.progress import Progress, silent
from cspine.pipelines.case_folder import DICOM_FOLDER, FHIR_FILE, REPORT_FILE, PredictSettings
from cspine.pipelines.predict_batch import is_complete, predict_batch
from cspine.pipelines.run_output import RESULT_FILE, OutputFolder
from cspine.reports.worklist import StudyResult

__all__ = ["RESULT_FILE", "Folders", "RunOutcome", "find_folders", "result_json", "run_studies"]

SCHEMA_VERSION: Final = "1.0"
"""Version of ``result.json``, beside that of the findings in it."""

NOTIFICATION: Final = "__mercure_notification"
"""Key under which mercure looks for a message to people."""

INPUT_VARIABLES: Final = ("MERCURE_IN_DIR", "HOLOSCAN_INPUT_PATH", "MONAI_INPUTPATH")
OUTPUT_VARIABLES: Final = ("MERCURE_OUT_DIR", "HOLOSCAN_OUTPUT_PATH", "MONAI_OUTPUTPATH")
"""Environment variables by which orchestrators name the folders; the first one that is set counts."""

DEFAULT_INPUT: Final = Path("/input")
DEFAULT_OUTPUT: Final = Path("/output")

_WITHOUT_MAPS: Final = {"vertebrae": {"__all__": {"evidence": {"__all__": {"saliency_map"}}}}}
"""What `result.json` leaves out of the findings: orchestrators keep it in their databases."""


@dataclass(frozen=True)
class Folders:
    """Where an orchestrator puts the studies, and where it expects the results."""

    input: Path
    output: Path


@dataclass(frozen=True)
class RunOutcome:
    """What a run answered.

    Attributes
    ----------
    results : tuple of StudyResult
        One per study.
    files : tuple of str
        Names of the files beside ``result.json``.
    """

    results: tuple[StudyResult, ...]
    files: tuple[str, ...]

    def is_complete(self, *, strict: bool = False) -> bool:
        """Return whether every study has an answer, as `cspine.pipelines.predict_batch.is_complete`."""
        return is_complete(self.results, strict=strict)


def find_folders(
    environment: Mapping[str, str], *, input_folder: Path | None = None, output_folder: Path | None = None
) -> Folders:
    """Return the folders of a run: as given, or by the orchestrator's variables, or /input and /output.

    Parameters
    ----------
    environment : mapping
        Environment variables; empty ones count as not set.
    input_folder, output_folder : Path, optional
        Folders that take precedence.

    >>> find_folders({"MERCURE_IN_DIR": "/tmp/data"}).input.as_posix()
    '/tmp/data'
    >>> find_folders({"HOLOSCAN_OUTPUT_PATH": ""}).output.as_posix()
    '/output'
    """

    def choose(override: Path | None, variables: Sequence[str], default: Path) -> Path:
        named = next((Path(environment[name]) for name in variables if environment.get(name)), default)
        return override or named

    return Folders(
        choose(input_folder, INPUT_VARIABLES, DEFAULT_INPUT), choose(output_folder, OUTPUT_VARIABLES, DEFAULT_OUTPUT)
    )


def run_studies(
    folders: Folders,
    settings: PredictSettings = PredictSettings(dicom=True),  # noqa: B008 - immutable
    *,
    with_page: bool = False,
    workers: int = 1,
    progress: Progress = silent,
) -> RunOutcome:
    """Predict every study of the input folder and write its objects, and then ``result.json``, to the output folder.

    Objects of one study are named as `predict_batch` names them; of many, each name begins with the study's key. What
    an earlier run wrote is replaced, and rejected where the answer changed. All files appear together at the end;
    ``result.json`` comes last, and is written where the run fails, too.

    Parameters
    ----------
    folders : Folders
        Where the studies are, at any depth, and where the results go.
    settings : PredictSettings
        How studies are predicted, and what is written beside ``result.json``.
    with_page : bool
        Whether ``report.html`` is handed over, too.
    workers, progress
        As of `predict_batch`.

    Raises
    ------
    InputError
        Both folders are the same one.
    OutputTakenError
        The output folder holds DICOM that no run wrote.
    CspineError
        As by `predict_batch`.
    """
    output = OutputFolder(folders.output)
    output.check(folders.input)
    output.set_aside()
    try:
        with _work_folder() as work:
            results = predict_batch(
                folders.input, work, settings, workers=workers, earlier=output.earlier, progress=progress
            )
            files = {result.folder: _files(work, result, with_page=with_page) for result in results}
            notes = {result.folder: output.notes_of(result.findings.study_instance_uid) for result in results}
            files = {key: notes[key] | each for key, each in files.items()}
            names = {key: tuple(each) for key, each in files.items()}
            output.fill(
                {name: path for each in files.values() for name, path in each.items()}, result_json(results, names)
            )
    except Exception as error:
        _write_failure(folders.output, error)
        raise
    return RunOutcome(tuple(results), tuple(name for each in names.values() for name in each))


@contextmanager
def _work_folder() -> Iterator[Path]:
    """Yield a temporary folder, which is all that a run writes outside of its output folder."""
    try:
        work = tempfile.TemporaryDirectory(prefix="cspine-")
    except OSError as error:
        raise OutputError(
            "no folder for temporary files can be written; mount one at /tmp, or set TMPDIR to one"
        ) from error
    with work as name:
        yield Path(name)


def _files(work: Path, result: StudyResult, *, with_page: bool) -> dict[str, Path]:
    """Return the files of a study that are handed over, by the names that they get."""
    folder = work / result.folder
    prefix = f"{result.folder}-" if result.folder else ""
    paths = [*complete_files(folder / DICOM_FOLDER, "*.dcm"), folder / FHIR_FILE]
    if with_page:
        paths.append(folder / REPORT_FILE)
    return {f"{prefix}{path.name}": path for path in paths if path.is_file()}


def result_json(results: Sequence[StudyResult], files: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Return what ``result.json`` holds of a run that came to its end.

    Parameters
    ----------
    results : sequence of StudyResult
        One per study.
    files : mapping of str to sequence of str
        Names of each study's files, by `StudyResult.folder`.
    """
    studies = [_study(result, () if _is_failed(result) else files.get(result.folder, ())) for result in results]
    texts = [_notification(result) for result in results]
    if len(results) > 1:
        texts = [f"{result.findings.study_instance_uid}: {text}" for result, text in zip(results, texts, strict=True)]
    statuses = [study["status"] for study in studies]
    return {
        **_header("answered" if is_complete(results) else "incomplete"),
        "summary": {
            "studies": len(results),
            "suspicious": sum(result.is_suspicious for result in results),
            **{status.replace("-", "_"): statuses.count(status) for status in ("assessed", "not-assessable", "failed")},
        },
        "studies": studies,
        NOTIFICATION: {
            "text": "\n".join([*texts, RESEARCH_USE_ONLY]),
            "requested": any(result.is_suspicious or result.findings.not_assessable for result in results),
        },
    }


def _header(status: str, error: str | None = None) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "statement": RESEARCH_USE_ONLY,
        "software": {"name": "cspine", "version": cspine.__version__},
        "status": status,
        "error": error,
    }


def _is_failed(result: StudyResult) -> bool:
    """Return whether the prediction of a study crashed, so that it has no folder."""
    rejected = result.findings.not_assessable
    return rejected is not None and rejected.code == FAILED


def _study(result: StudyResult, files: Sequence[str]) -> dict[str, Any]:
    findings = result.findings
    rejected = findings.not_assessable
    status = "assessed" if rejected is None else "failed" if _is_failed(result) else "not-assessable"
    return {
        "study_instance_uid": findings.study_instance_uid,
        "status": status,
        "suspicious_levels": list(findings.suspicious),
        "remedy": remedy_of(rejected.code) if rejected else None,
        "failed_outputs": list(result.failed_outputs),
        "files": list(files),
        "findings": findings.model_dump(mode="json", exclude=_WITHOUT_MAPS),
    }


def _notification(result: StudyResult) -> str:
    """Return one sentence or two for people, without anything that identifies the patient."""
    sentences = [_answer(result.findings), *(f"Not written: {sentence}." for sentence in result.failed_outputs)]
    return " ".join(sentences)


def _answer(findings: Findings) -> str:
    rejected, overall = findings.not_assessable, findings.patient_overall
    if rejected is not None or overall is None:
        code, reason = (rejected.code, rejected.reason) if rejected else (FAILED, "no result")
        return f"Cervical spine CT not assessable ({code}): {reason}. What would help: {remedy_of(code)}."
    levels = ", ".join(
        f"{each.level_label} {100 * (each.probability or 0.0):.0f} %"
        for each in findings.vertebrae
        if each.is_suspicious
    )
    assessment = f"Suspicious: {levels}." if levels else "No vertebra is suspicious."
    return f"Cervical spine CT: any fracture {100 * overall.probability:.0f} %. {assessment}"


def _write_failure(folder: Path, error: Exception) -> None:
    """Write what ``result.json`` holds of a run that failed, as far as the folder can be written."""
    kind = type(error).__name__
    sentence = str(error) if isinstance(error, CspineError) else f"unexpected {kind}; please report it"
    result = {
        **_header("failed", sentence),
        "summary": dict.fromkeys(("studies", "suspicious", "assessed", "not_assessable", "failed"), 0),
        "studies": [],
        NOTIFICATION: {"text": f"cspine failed: {sentence} {RESEARCH_USE_ONLY}", "requested": True},
    }
    if folder.is_dir():  # a folder that the orchestrator did not make is not looked into by it
        with suppress(OutputError):
            write_json(folder / RESULT_FILE, result)
