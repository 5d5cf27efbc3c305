"""Learning curve: train and evaluate on growing fractions of the patients; needs the training extra."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from cspine.classification.predict_dataset import classify_dataset
from cspine.core.errors import InputError
from cspine.core.files import plain_json, write_json
from cspine.core.jobs import ResumableJob
from cspine.core.progress import Progress, silent
from cspine.core.storage.locations import as_path
from cspine.datasets.compiled import CompiledDataset
from cspine.datasets.locked_split import TRAIN, LockedSplit
from cspine.datasets.reference_standard import ReferenceStandard, read_reference_standard
from cspine.evaluation.cases import Cases, match_predictions
from cspine.evaluation.predictions import Predictions
from cspine.experiments.ablation import MAX_VIEWS
from cspine.experiments.learning_curve import LearningCurve, nested_splits, summarize_points
from cspine.pipelines.experiments.ablate import (
    RESULT_FILE,
    AblationSettings,
    compile_for_views,
    open_train_and_test,
    train_with_views,
    with_unpredicted,
)
from cspine.reports.evaluation.learning_curve_report import learning_curve_figure, learning_curve_sections
from cspine.reports.evaluation.sections_page import write_sections

MARKER: Final = "learning-curve.json"


@dataclass(frozen=True)
class LearningCurveSettings(AblationSettings):
    """How the network is trained with each fraction of the patients.

    Attributes
    ----------
    views : int
        Sagittal images of a study (`baseline-cnn`), or views of each vertebra (`levels`).
    repeats : int
        Trainings with each fraction.
    """

    views: int = 9
    repeats: int = 3


@dataclass(frozen=True)
class LearningCurveRun:
    """A finished learning curve.

    Attributes
    ----------
    curve : LearningCurve
        Its points.
    summary : dict
        Its numbers, as written to ``result.json``.
    report : Path
        The report, in HTML.
    """

    curve: LearningCurve
    summary: dict[str, Any]
    report: Path


def run_learning_curve(
    train_path: str | Path,
    test_path: str | Path,
    out: str | Path,
    fractions: Sequence[float],
    settings: LearningCurveSettings | None = None,
    *,
    progress: Progress = silent,
) -> LearningCurveRun:
    """Train with each fraction of the patients and evaluate on the same others; an interrupted run is resumed.

    Each repeat has a seed of its own, for the patients that validate, the nested subsets, initial weights and order.

    Parameters
    ----------
    train_path, test_path : str or Path
        Folders in the challenge's layout, with labels, of different patients.
    out : str or Path
        Gets data sets, runs, ``result.json`` and the report.
    fractions : sequence of float
        Fractions of the training patients, in (0, 1].
    settings : LearningCurveSettings, optional
        How the network is trained; the default where None.
    progress : Progress
        Reports compiling, training and classifying.

    Raises
    ------
    InputError
        A fraction or the number of views is not possible, or studies or patients are in both folders.
    LabelError
        A folder has no labels, or a fraction too few patients.
    OutputTakenError
        `out` holds something else.
    DiskFullError, OutputError
        `out` cannot be written.
    """
    settings, out = settings or LearningCurveSettings(), as_path(out)
    if not fractions or min(fractions) <= 0.0 or max(fractions) > 1.0 or len(set(fractions)) != len(fractions):
        given = ", ".join(f"{each:g}" for each in fractions)
        raise InputError(f"--train-fraction {given}: takes different fractions above 0 and up to 1, such as .1,.2,.5,1")
    if not 1 <= settings.views <= MAX_VIEWS[settings.network]:
        raise InputError(f"--views {settings.views}: takes a number from 1 to {MAX_VIEWS[settings.network]}")
    collections = open_train_and_test(as_path(train_path), as_path(test_path), progress)
    identity = {
        "kind": "learning curve",
        "network": settings.network,
        "epochs": settings.epochs,
        "seed": settings.seed,
        "views": settings.views,
        "train": str(as_path(train_path).resolve()),
        "test": str(as_path(test_path).resolve()),
    }
    ResumableJob(out, MARKER, identity).open()
    datasets = compile_for_views(collections, out, settings.views, settings, progress)
    reference = read_reference_standard(datasets[1].folder)
    cases, sizes = _train_all(datasets, out, fractions, settings, progress)
    curve = LearningCurve(
        settings.network,
        settings.views,
        settings.repeats,
        summarize_points(cases, sizes, seed=settings.seed),
        len(reference.labels),
        int(reference.patients.nunique()),
        reference.is_phantom,
    )
    return _write(curve, out)


def _train_all(
    datasets: tuple[CompiledDataset, CompiledDataset],
    out: Path,
    fractions: Sequence[float],
    settings: LearningCurveSettings,
    progress: Progress,
) -> tuple[dict[float, list[dict[str, Cases]]], dict[float, tuple[int, int]]]:
    """Return the cases of each fraction, one mapping per repeat, and its numbers of patients and studies."""
    train, test = (read_reference_standard(dataset.folder) for dataset in datasets)
    cases: dict[float, list[dict[str, Cases]]] = {fraction: [] for fraction in fractions}
    sizes: dict[float, tuple[int, int]] = {}
    for repeat in range(settings.repeats):
        own = replace(settings, seed=settings.seed + repeat)
        for fraction, split in nested_splits(train, fractions, seed=own.seed).items():
            sizes.setdefault(fraction, _size(train, split))
            run = out / f"run-{fraction:g}-seed-{own.seed}"
            classifier = train_with_views(datasets[0], run, settings.views, own, progress, split=split)
            predictions = Predictions(run.name, classify_dataset(datasets[1], classifier))
            cases[fraction].append(match_predictions(test, [with_unpredicted(predictions, test)]).cases(run.name))
    return cases, sizes


def _size(reference: ReferenceStandard, split: LockedSplit) -> tuple[int, int]:
    """Return the number of patients and of studies of a split's training set."""
    studies = list(split.studies(TRAIN))
    return int(reference.patients.loc[studies].nunique()), len(studies)


def _write(curve: LearningCurve, out: Path) -> LearningCurveRun:
    points = [plain_json(asdict(point)) for point in curve.points]
    summary = {"network": curve.network, "views": curve.views, "repeats": curve.n_repeats, "points": points}
    write_json(out / RESULT_FILE, summary)
    report = write_sections(
        out,
        "learning-curve",
        learning_curve_sections(curve),
        learning_curve_figure(curve),
        title=f"Learning curve of {curve.network}",
        is_phantom=curve.is_phantom,
    )
    return LearningCurveRun(curve, summary, report)
