"""Evaluation of predictions, or of the weights of a training run, against a reference standard."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy.typing as npt
from pydantic import Field

from cspine.classification.baseline import Baseline
from cspine.classification.level_classifier import LevelClassifier
from cspine.classification.loading import load_classifier
from cspine.classification.predict_dataset import Classified, predict_dataset
from cspine.core.anatomy import OVERALL, TARGETS
from cspine.core.errors import InputError, LabelError
from cspine.core.files import write_json, write_text
from cspine.core.jobs import ResumableJob
from cspine.core.progress import Progress, silent
from cspine.core.run_files import MODEL_CARD_FILE, WEIGHTS_FILE
from cspine.core.settings import Settings, digest
from cspine.core.storage.locations import as_path
from cspine.datasets.compiled import CompiledDataset
from cspine.datasets.locked_split import HOLDOUT, TEST, LockedSplit, hash_labels, read_split, select_part
from cspine.datasets.reference_standard import ReferenceStandard, read_reference_standard
from cspine.evaluation.cases import LEVELS, match_predictions
from cspine.evaluation.evaluate import EvaluationProtocol, EvaluationResult, EvaluationSettings, evaluate
from cspine.evaluation.failures import worst_failures
from cspine.evaluation.holdout_access_log import hash_predictions, record_holdout_access
from cspine.evaluation.leak_check import count_training_leaks, read_training_studies
from cspine.evaluation.operating_point_metrics import choose_fixed_operating_points
from cspine.evaluation.operating_points import operating_points_of_weights
from cspine.evaluation.predictions import Predictions, read_predictions
from cspine.metrics.bootstrap import N_RESAMPLES
from cspine.models.metadata import BaselineMetadata, LevelsMetadata
from cspine.models.operating_points import read_operating_points
from cspine.plots.figure_style import save_figure
from cspine.reports.evaluation.failure_images import failure_images
from cspine.reports.evaluation.figures import evaluation_figures
from cspine.reports.evaluation.markdown import evaluation_markdown
from cspine.reports.evaluation.model_card import model_card
from cspine.reports.evaluation.page import FailureImage, evaluation_page

MARKER: Final = "evaluate.json"
RESULT_FILE: Final = "evaluation.json"
PAGE_FILE: Final = "evaluation.html"
MARKDOWN_FILE: Final = "evaluation.md"
OPERATING_POINTS_FILE: Final = "points.json"

Metadata = BaselineMetadata | LevelsMetadata


class EvaluateSettings(Settings):
    """Which studies are evaluated, at which operating points, and with which additional data."""

    operating_points: Path | None = Field(
        None,
        description="The points.json of another evaluation; where null, those that weights or findings carry, or else "
        "threshold 0.5.",
    )
    split: Path | None = Field(None, description="A locked split; all studies are evaluated where null.")
    part: str | None = Field(None, description="Part of the split that is evaluated; test where null.")
    boxes: Path | None = Field(None, description="The challenge's train_bounding_boxes.csv, for predictions only.")
    subgroups: Path | None = Field(None, description="A CSV with StudyInstanceUID and variables of the studies.")
    gallery_data: Path | None = Field(
        None, description="Compiled data set that shows the worst failures, for predictions only; a run has its own."
    )
    n_resamples: int = Field(N_RESAMPLES, ge=1, description="Number of bootstrap resamples of patients.")


@dataclass(frozen=True)
class EvaluationReport:
    """An evaluation, and the folder of its report.

    Attributes
    ----------
    result : EvaluationResult
        All metrics of all models.
    folder : Path or None
        Folder of the report; None where none was written.
    """

    result: EvaluationResult
    folder: Path | None


@dataclass(frozen=True)
class _Inputs:
    """The models and the reference standard, and for weights what their metadata and their data set provide."""

    reference: ReferenceStandard
    models: Sequence[Predictions]
    gallery: CompiledDataset | None = None
    metadata: Metadata | None = None
    training_studies: frozenset[str] = frozenset()
    baselines: Mapping[str, npt.ArrayLike] = field(default_factory=dict)


def evaluate_predictions(
    reference: str | Path,
    predictions: Sequence[str | Path],
    out: str | Path | None = None,
    settings: EvaluateSettings | None = None,
    *,
    progress: Progress = silent,
) -> EvaluationReport:
    """Evaluate the predictions of any models against a reference standard.

    Parameters
    ----------
    reference : str or Path
        The challenge's train.csv, a folder that holds it, or a compiled data set.
    predictions : sequence of str or Path
        One per model, as taken by `cspine.evaluation.predictions.read_predictions`.
    out : str or Path, optional
        Folder of the report, as of `write_evaluation`; nothing is written if omitted.
    settings : EvaluateSettings, optional
        Operating points, split and additional data.
    progress : Progress
        Called with the number of evaluated models.

    Returns
    -------
    EvaluationReport

    Raises
    ------
    LabelError, InputError
        A file is malformed, or predictions and reference standard do not match.
    OutputTakenError
        The folder holds something else.
    DiskFullError, OutputError
        The folder cannot be written.

    Notes
    -----
    An evaluation on the holdout part of a split is recorded beside the split, whether or not a report is written.
    """
    reference = as_path(reference)
    out = None if out is None else as_path(out)
    files = [as_path(each) for each in predictions]
    settings = settings or EvaluateSettings()
    names = _distinct_names(files)
    models = [read_predictions(path, name=name) for path, name in zip(files, names, strict=True)]
    inputs = _Inputs(
        read_reference_standard(reference, boxes=settings.boxes, subgroups=settings.subgroups),
        models,
        CompiledDataset.open(settings.gallery_data) if settings.gallery_data else None,
    )
    return _evaluate(inputs, out, settings, progress)


def evaluate_run(
    run: str | Path,
    data: str | Path,
    out: str | Path | None = None,
    settings: EvaluateSettings | None = None,
    *,
    classified: Classified | None = None,
    progress: Progress = silent,
) -> EvaluationReport:
    """Evaluate the weights of a training run on a compiled data set.

    Operating points and constant baselines are those in the weights' metadata. The studies are checked for patients
    that the weights were trained on; see `cspine.evaluation.leak_check`. A model card is written into the run's folder.

    Parameters
    ----------
    run : str or Path
        Folder of the training run.
    data : str or Path
        Compiled data set with labels.
    out : str or Path, optional
        Folder of the report, as of `write_evaluation`; ``evaluation-DATA`` in the run's folder if omitted.
    settings : EvaluateSettings, optional
        Operating points and split.
    classified : (DataFrame, DataFrame or None), optional
        What `cspine.classification.predict_dataset.predict_dataset` returned for all studies, by the same weights;
        shards have classified them.
    progress : Progress
        Called with the number of classified studies, then of evaluated models.

    Returns
    -------
    EvaluationReport

    Raises
    ------
    WeightsError
        The run holds no weights that can be used.
    LabelError, InputError
        The data set has no labels, was compiled differently, or does not match the split.
    OutputTakenError
        The folder holds something else.
    DiskFullError, OutputError
        A folder cannot be written.
    """
    run, data = as_path(run), as_path(data)
    out = None if out is None else as_path(out)
    settings = settings or EvaluateSettings()
    _read_split(settings)  # what is wrong with the request is reported before a data set is predicted
    if settings.operating_points:
        read_operating_points(settings.operating_points)
    classifier, dataset = load_classifier(run / WEIGHTS_FILE), CompiledDataset.open(data)
    reference = read_reference_standard(data, subgroups=settings.subgroups)
    name = f"{classifier.metadata.name}, {run.resolve().name}"
    classified = classified or predict_dataset(dataset, classifier, progress=progress)
    model = _predictions(classifier, reference, name, classified)
    inputs = _Inputs(
        reference,
        [model],
        dataset,
        classifier.metadata,
        read_training_studies(run),
        _constant_baselines(classifier.metadata),
    )
    report = _evaluate(inputs, out or default_folder(run, data), settings, progress)
    failures = worst_failures(report.result.reference, report.result.cases[model.name])
    localizer = classifier.localizer.weights if isinstance(classifier, LevelClassifier) else None
    card = model_card(classifier.metadata, classifier.identity.sha256, report.result, failures, localizer=localizer)
    write_text(run / MODEL_CARD_FILE, card)
    return report


def write_evaluation(
    folder: Path, result: EvaluationResult, models: Sequence[Predictions], *, gallery: CompiledDataset | None = None
) -> None:
    """Write the report of an evaluation into a folder.

    The report is a page (``evaluation.html``), the same as Markdown and as JSON, figures, the probabilities of each
    model (``probabilities*.csv``), and operating points for other studies (``points.json``).

    Parameters
    ----------
    folder : Path
        Folder of the report.
    result : EvaluationResult
        Result of the evaluation that is reported.
    models : sequence of Predictions
        Predictions of the evaluated models, in order.
    gallery : CompiledDataset, optional
        Images of the studies, to show the worst failures of the first model.

    Raises
    ------
    DiskFullError, OutputError
        The folder cannot be written.
    InputError
        An image of the gallery is missing or damaged.
    """
    title = ", ".join(model.name for model in result.models)
    figures = evaluation_figures(result)
    for name, figure in figures.items():
        save_figure(figure, folder / name)
    write_json(folder / RESULT_FILE, result.to_json())
    write_text(folder / MARKDOWN_FILE, evaluation_markdown(result, title=title))
    failures = worst_failures(result.reference, result.cases[result.models[0].name])
    images = failure_images(gallery, failures) if gallery else [FailureImage(failure, None) for failure in failures]
    pngs = {name: (folder / name).read_bytes() for name in figures}
    write_text(folder / PAGE_FILE, evaluation_page(result, title=title, figures=pngs, failures=images))
    for number, model in enumerate(models, start=1):
        suffix = "" if len(models) == 1 else f"-{number}"
        write_text(folder / f"probabilities{suffix}.csv", model.probability.to_csv(lineterminator="\n"))
    _write_operating_points(folder / OPERATING_POINTS_FILE, result)


def _write_operating_points(path: Path, result: EvaluationResult) -> None:
    """Write operating points chosen on these studies by the first model; none are chosen on a holdout part."""
    part, model = result.protocol.part, result.models[0].name
    if part == HOLDOUT:
        return
    cases = result.cases[model]
    studies = f"the part {part} of {result.reference_name}" if part else result.reference_name
    try:
        points = choose_fixed_operating_points(
            cases[OVERALL],
            cases[LEVELS],
            chosen_on=f"{result.n_studies} studies, {studies}, by the probabilities of {model}",
            studies_sha256=result.reference.studies_sha256,
        )
    except LabelError:  # one class only
        return
    points.write(path)


def _read_split(settings: EvaluateSettings) -> LockedSplit | None:
    """Return the split of the settings, if any; raises LabelError or InputError where it cannot be used."""
    if settings.part is not None and settings.split is None:
        raise InputError(f"--part {settings.part}: is a part of a split; give --split too")
    return read_split(settings.split) if settings.split else None


def _evaluate(inputs: _Inputs, out: Path | None, settings: EvaluateSettings, progress: Progress) -> EvaluationReport:
    """Evaluate the selected part of the studies; checks come first, then the access log, then the evaluation."""
    split = _read_split(settings)
    part = (settings.part or TEST) if split else ""
    reference = select_part(inputs.reference, split, part) if split else inputs.reference
    points = read_operating_points(settings.operating_points) if settings.operating_points else None
    if points is not None and points.recalibration is not None:
        inputs = replace(inputs, models=[model.recalibrate(points.recalibration) for model in inputs.models])
    evaluation = EvaluationSettings(points, inputs.baselines, settings.n_resamples)
    matched = match_predictions(reference, inputs.models).reference
    leaks = count_training_leaks(matched, inputs.metadata, inputs.training_studies) if inputs.metadata else 0
    if out is not None:
        _job(out, reference, inputs.models, evaluation, part).open()
    accesses = None
    if split and settings.split and part == HOLDOUT:
        accesses = record_holdout_access(settings.split, split, inputs.models)
    protocol = EvaluationProtocol(part, split.sha256 if split else "", accesses, leaks)
    result = evaluate(reference, inputs.models, replace(evaluation, protocol=protocol), progress=progress)
    if out is not None:
        write_evaluation(out, result, inputs.models, gallery=inputs.gallery)
    return EvaluationReport(result, out)


def _job(
    out: Path, reference: ReferenceStandard, models: Sequence[Predictions], evaluation: EvaluationSettings, part: str
) -> ResumableJob:
    identity = {
        "kind": "evaluation",
        "models": {model.name: hash_predictions(model) for model in models},
        "labels_sha256": hash_labels(reference.labels),
        "part": part,
        "operating_points": digest([evaluation.operating_points_of(model).model_dump(mode="json") for model in models]),
        "n_resamples": evaluation.n_resamples,
    }
    return ResumableJob(out, MARKER, identity)


def default_folder(run: Path, data: Path) -> Path:
    """Return the folder of the report of a run on a data set."""
    return run / f"evaluation-{data.resolve().name}"


def _predictions(
    classifier: Baseline | LevelClassifier, reference: ReferenceStandard, name: str, classified: Classified
) -> Predictions:
    """Return the predictions of weights for a compiled data set; labeled studies without images are not assessable."""
    probability, marks = classified
    missing = {str(study): "not compiled" for study in reference.labels.index if study not in probability.index}
    points = operating_points_of_weights(classifier.metadata)
    phantom_only = classifier.metadata.phantom_only
    return Predictions(name, probability, missing, marks, phantom_only=phantom_only, operating_points=points)


def _constant_baselines(metadata: Metadata) -> dict[str, npt.ArrayLike]:
    """Return predictions that need no image, from the labels of the training studies."""
    return {
        "all 0.5": (0.5,) * len(TARGETS),
        "training prevalence": metadata.prevalence,
        "best in training": metadata.best_constants,
    }


def _distinct_names(paths: Sequence[Path]) -> list[str]:
    """Return the stem of each file, or its path where two have the same.

    >>> _distinct_names([Path("a/x.csv"), Path("b/x.csv"), Path("c.csv")])
    ['a/x.csv', 'b/x.csv', 'c']
    """
    stems = [path.resolve().stem for path in paths]
    return [str(path) if stems.count(stem) > 1 else stem for path, stem in zip(paths, stems, strict=True)]
