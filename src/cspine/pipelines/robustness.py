"""Robustness of a network to perturbations of scans: predict, evaluate, report."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from cspine.core.files import plain_json, write_json, write_text
from cspine.core.progress import Progress, silent
from cspine.core.storage.locations import as_path
from cspine.datasets.reference_standard import read_reference_standard
from cspine.dicom.study_collection import open_collection
from cspine.experiments.perturbations import PERTURBATIONS
from cspine.experiments.perturbed_predictions import predict_perturbed
from cspine.experiments.robustness import RobustnessPoint, evaluate_perturbations
from cspine.reports.evaluation.robustness_report import robustness_figure, robustness_sections
from cspine.reports.evaluation.sections_page import write_sections

ROWS_FILE: Final = "rows.csv"
CURVES_FILE: Final = "curves.json"


@dataclass(frozen=True)
class RobustnessRun:
    """A finished experiment.

    Attributes
    ----------
    points : tuple of RobustnessPoint
        Performance at each severity, and of controls.
    summary : list of dict
        Their numbers, as written to ``curves.json``.
    report : Path
        The report, in HTML.
    """

    points: tuple[RobustnessPoint, ...]
    summary: list[dict[str, Any]]
    report: Path


def evaluate_robustness(
    path: str | Path,
    out: str | Path,
    *,
    perturbations: Sequence[str] = (),
    weights: Sequence[str] = (),
    workers: int = 1,
    progress: Progress = silent,
) -> RobustnessRun:
    """Predict studies as they are and perturbed, and report accuracy against severity; an interrupted run is resumed.

    Parameters
    ----------
    path : str or Path
        A folder in the challenge's layout, with labels.
    out : str or Path
        Gets predictions, curves and the report.
    perturbations : sequence of str
        Names in `cspine.experiments.perturbations.PERTURBATIONS`; all where empty.
    weights, workers, progress
        As of `cspine.experiments.perturbed_predictions.predict_perturbed`.

    Raises
    ------
    LabelError
        No study has labels.
    InputError, WeightsError, OutputTakenError, DiskFullError, OutputError
        As by `cspine.experiments.perturbed_predictions.predict_perturbed`.
    """
    path, out = as_path(path), as_path(out)
    studies, reference = open_collection(path), read_reference_standard(path)
    names = tuple(perturbations or PERTURBATIONS)
    rows = predict_perturbed(studies, out, perturbations=names, weights=weights, workers=workers, progress=progress)
    points = evaluate_perturbations(rows, reference)
    summary: list[dict[str, Any]] = [plain_json(asdict(point)) for point in points]
    write_text(out / ROWS_FILE, rows.to_csv(index=False, lineterminator="\n"))
    write_json(out / CURVES_FILE, summary)
    report = write_sections(
        out,
        "robustness",
        robustness_sections(points),
        robustness_figure(points, is_phantom=reference.is_phantom),
        title=f"Robustness on {path.resolve().name}",
        is_phantom=reference.is_phantom,
    )
    return RobustnessRun(points, summary, report)
