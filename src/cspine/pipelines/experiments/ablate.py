"""Ablation of the number of views: compile, train and evaluate with each; needs the training extra."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import pandas as pd

from cspine.classification.baseline import Baseline
from cspine.classification.level_classifier import LevelClassifier
from cspine.classification.predict_dataset import classify_dataset
from cspine.core.errors import InputError, LabelError
from cspine.core.files import plain_json, write_json
from cspine.core.jobs import ResumableJob
from cspine.core.progress import Progress, silent
from cspine.core.storage.locations import as_path
from cspine.datasets.compiled import CompiledDataset
from cspine.datasets.locked_split import LockedSplit
from cspine.datasets.reference_standard import ReferenceStandard, read_reference_standard
from cspine.dicom.study_collection import StudyCollection, open_collection
from cspine.evaluation.evaluate import EvaluationSettings, evaluate
from cspine.evaluation.predictions import Predictions
from cspine.experiments.ablation import (
    MAX_VIEWS,
    Ablation,
    AblationCost,
    Network,
    model_name,
    spread_views,
    summarize_ablation,
)
from cspine.localization.compiler import Compiler
from cspine.localization.localizer import Localizer
from cspine.pipelines.compile import compile_collection
from cspine.reports.evaluation.ablation_report import ablation_figure, ablation_sections
from cspine.reports.evaluation.sections_page import write_sections
from cspine.training.baseline.settings import BaselineTrainSettings
from cspine.training.baseline.train import train_baseline
from cspine.training.curves import CURVES_FILE
from cspine.training.levels.initialization import export_encoder, load_pretrained
from cspine.training.levels.settings import LevelTrainSettings
from cspine.training.levels.train import train_levels
from cspine.views.level_views import LevelViewSettings
from cspine.views.sagittal import SagittalSettings
from cspine.views.settings import CompileSettings

MARKER: Final = "ablation.json"
RESULT_FILE: Final = "result.json"


@dataclass(frozen=True)
class AblationSettings:
    """How the network is trained with each number of views.

    Attributes
    ----------
    network : str
        Network that is trained with each number of views.
    epochs : int
        Passes over the training set, at most; `baseline-cnn` stops early.
    seed : int
        Seed of split, initial weights and order.
    workers : int
        Processes that compile studies.
    """

    network: Network = "baseline-cnn"
    epochs: int = 40
    seed: int = 0
    workers: int = 1


@dataclass(frozen=True)
class AblationRun:
    """A finished ablation.

    Attributes
    ----------
    ablation : Ablation
        Table of the ablation, with the evaluations.
    summary : dict
        Its numbers, as written to ``result.json``.
    report : Path
        The report, in HTML.
    """

    ablation: Ablation
    summary: dict[str, Any]
    report: Path


def ablate(
    train_path: str | Path,
    test_path: str | Path,
    out: str | Path,
    views: Sequence[int],
    settings: AblationSettings | None = None,
    *,
    progress: Progress = silent,
) -> AblationRun:
    """Compile, train and evaluate with each number of views; an interrupted run is resumed.

    `levels` is initialized each time with the pretrained encoder of the weights that come with cspine, which takes
    single planes, and a random head; `baseline-cnn` with random weights.

    Parameters
    ----------
    train_path, test_path : str or Path
        Folders in the challenge's layout, with labels, of different patients.
    out : str or Path
        Gets data sets, runs, ``result.json`` and the report.
    views : sequence of int
        Numbers of sagittal images (`baseline-cnn`), or of views of each vertebra, spread over the three planes
        (`levels`).
    settings : AblationSettings, optional
        How the network is trained; the default where None.
    progress : Progress
        Reports compiling, training, classifying and evaluating.

    Raises
    ------
    InputError
        A number of views is not possible, or studies or patients are in both folders.
    LabelError
        A folder has no labels.
    OutputTakenError
        `out` holds something else.
    DiskFullError, OutputError
        `out` cannot be written.
    """
    train_path, test_path, out = as_path(train_path), as_path(test_path), as_path(out)
    settings = settings or AblationSettings()
    limit = MAX_VIEWS[settings.network]
    if not views or min(views) < 1 or max(views) > limit or len(set(views)) != len(views):
        raise InputError(f"--views {', '.join(map(str, views))}: takes different numbers from 1 to {limit}")
    train, test = open_train_and_test(train_path, test_path, progress)
    identity = {
        "kind": "ablation",
        "network": settings.network,
        "epochs": settings.epochs,
        "seed": settings.seed,
        "train": str(train_path.resolve()),
        "test": str(test_path.resolve()),
    }
    ResumableJob(out, MARKER, identity).open()
    models, costs = [], {}
    for count in views:
        compiled = count if settings.network == "baseline-cnn" else max(views)  # views of vertebrae: compiled once
        datasets = compile_for_views((train, test), out, compiled, settings, progress)
        predictions, costs[count] = train_and_predict(datasets, out, count, settings, progress)
        models.append(predictions)
    reference = read_reference_standard(datasets[1].folder)  # the same for any number of views
    models = [with_unpredicted(model, reference) for model in models]
    evaluation = evaluate(reference, models, EvaluationSettings(seed=settings.seed), progress=progress)
    return _write(summarize_ablation(settings.network, views, evaluation, costs), out)


def open_train_and_test(
    train_path: Path, test_path: Path, progress: Progress
) -> tuple[StudyCollection, StudyCollection]:
    """Open the studies to train on and those to evaluate on; raises InputError where a study is among both."""
    train, test = (open_collection(path, progress=progress) for path in (train_path, test_path))
    common = _studies(train) & _studies(test)
    if common:
        raise InputError(f"{test_path}: holds {len(common)} studies that are trained on; give other studies")
    return train, test


def with_unpredicted(model: Predictions, reference: ReferenceStandard) -> Predictions:
    """Return predictions with the studies that have no images as not assessable: they are evaluated too."""
    missing = reference.labels.index.difference(model.probability.index)
    return replace(model, not_assessable={str(study): "not compiled" for study in missing})


def _studies(collection: StudyCollection) -> set[str]:
    return {source.study_instance_uid for source in collection.studies}


def _write(ablation: Ablation, out: Path) -> AblationRun:
    rows = [plain_json(asdict(row)) for row in ablation.rows]
    summary = {"network": ablation.network, "reference": ablation.reference, "rows": rows}
    write_json(out / RESULT_FILE, summary)
    report = write_sections(
        out,
        "ablation",
        ablation_sections(ablation),
        ablation_figure(ablation),
        title=f"Ablation of {ablation.network}",
        is_phantom=ablation.evaluation.is_phantom,
    )
    return AblationRun(ablation, summary, report)


def compile_for_views(
    collections: tuple[StudyCollection, StudyCollection],
    out: Path,
    count: int,
    settings: AblationSettings,
    progress: Progress,
) -> tuple[CompiledDataset, CompiledDataset]:
    """Compile training and test studies with a number of images, or of views of each vertebra.

    Parameters
    ----------
    collections : (StudyCollection, StudyCollection)
        Studies to train on and to evaluate on.
    out : Path
        Gets the data sets ``train-COUNT`` and ``test-COUNT``.
    count : int
        Sagittal images (`baseline-cnn`), or views of each vertebra (`levels`).
    settings : AblationSettings
        Network and number of processes.
    progress : Progress
        Reports compiling.

    Raises
    ------
    LabelError
        A folder has no labels.
    InputError
        Studies of a patient are in both folders.
    """
    compiler = _compiler(settings.network, count)
    folders = out / f"train-{count}", out / f"test-{count}"
    for collection, folder in zip(collections, folders, strict=True):
        if collection.labels_path is None:
            raise LabelError(f"{collection.path}: has no train.csv; an ablation trains and evaluates on labels")
        compile_collection(collection, folder, compiler, workers=settings.workers, progress=progress)
    train, test = (CompiledDataset.open(folder) for folder in folders)
    common = _patients(train) & _patients(test)
    if common:
        raise InputError(
            f"{collections[1].path}: holds studies of patients who are trained on ({len(common)}); give other ones"
        )
    return train, test


def _patients(dataset: CompiledDataset) -> set[str]:
    return set(dataset.studies()["patient"].dropna())


def _compiler(network: Network, count: int) -> Compiler:
    if network == "baseline-cnn":
        return Compiler(CompileSettings(spine_aligned=False, sagittal=SagittalSettings(count=count), levels=None))
    sagittal, coronal, axial = spread_views(count)
    levels = LevelViewSettings(sagittal=sagittal, coronal=coronal, axial=axial)
    return Compiler(CompileSettings(levels=levels), Localizer.load())


def train_and_predict(
    datasets: tuple[CompiledDataset, CompiledDataset],
    out: Path,
    count: int,
    settings: AblationSettings,
    progress: Progress,
) -> tuple[Predictions, AblationCost]:
    """Train a network with a number of views, and predict the test studies.

    Parameters
    ----------
    datasets : (CompiledDataset, CompiledDataset)
        Training and test studies, compiled for the network.
    out : Path
        Gets the run, ``run-COUNT``; an interrupted run is resumed.
    count : int
        Sagittal images (`baseline-cnn`), or views of each vertebra (`levels`).
    settings : AblationSettings
        Network, epochs and seed.
    progress : Progress
        Reports training and classifying.

    Returns
    -------
    predictions : Predictions
        Predictions of the test studies, named by `model_name`.
    cost : AblationCost
        Cost of the network.
    """
    run, (train, test) = out / f"run-{count}", datasets
    classifier = train_with_views(train, run, count, settings, progress)
    started = time.perf_counter()
    probability = classify_dataset(test, classifier, progress=progress)
    seconds = (time.perf_counter() - started) / max(len(probability), 1)
    epoch = float(pd.read_csv(run / CURVES_FILE)["seconds"].median())
    predictions = Predictions(model_name(count), probability, phantom_only=classifier.metadata.phantom_only)
    return predictions, AblationCost(bytes_per_study(test, count, settings.network), epoch, seconds)


def train_with_views(
    dataset: CompiledDataset,
    run: Path,
    count: int,
    settings: AblationSettings,
    progress: Progress,
    *,
    split: LockedSplit | None = None,
) -> Baseline | LevelClassifier:
    """Train a network, unless an earlier run did.

    Parameters
    ----------
    dataset : CompiledDataset
        Training studies, compiled for the network.
    run : Path
        The run's folder.
    count : int
        Sagittal images (`baseline-cnn`), or views of each vertebra (`levels`).
    settings : AblationSettings
        Network, epochs and seed.
    progress : Progress
        Reports training.
    split : LockedSplit, optional
        Which studies train and which validate; drawn at random where omitted.
    """
    if settings.network == "baseline-cnn":
        hyperparameters = BaselineTrainSettings(seed=settings.seed, epochs=settings.epochs)
        baseline = train_baseline(dataset, run, hyperparameters, split=split, progress=progress)
        if baseline is None:
            raise InputError(_NO_TORCHRUN)
        return Baseline.load(*baseline.weights)
    views, compiled = spread_views(count), dataset.settings.levels
    if compiled is None:  # pragma: no cover - `_compiler` compiles them
        raise AssertionError(f"{dataset.folder}: holds no views of vertebrae")
    levels = LevelTrainSettings(
        seed=settings.seed, epochs=settings.epochs, pretrain_epochs=0, train_views=views, eval_views=views
    )
    encoder = export_encoder(load_pretrained("levels"), run.parent, compiled, seed=settings.seed)
    summary = train_levels(dataset, run, levels, init_weights=encoder, split=split, progress=progress)
    if summary is None:
        raise InputError(_NO_TORCHRUN)
    return LevelClassifier.load(*summary.weights)


_NO_TORCHRUN: Final = "an ablation runs in one process; start it without torchrun"


def bytes_per_study(dataset: CompiledDataset, count: int, network: Network) -> float:
    """Return the mean bytes that a network reads of a study.

    Parameters
    ----------
    dataset : CompiledDataset
        Compiled for the network.
    count : int
        Views of each vertebra that are read; of a mosaic's bytes, this fraction of its views counts.
    network : str
        `baseline-cnn` reads the sagittal images instead.
    """
    table: Any = dataset.manifest() if network == "baseline-cnn" else dataset.levels()
    studies = max(int(table["study_instance_uid"].nunique()), 1)
    views = dataset.settings.levels
    fraction = 1.0 if network == "baseline-cnn" or views is None else count / views.n_views
    return fraction * float(table["bytes"].sum()) / studies
