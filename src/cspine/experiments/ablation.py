"""What more images are worth: the same network trained and judged with one number of views after the other."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import pandas as pd

from cspine.classification.baseline import Baseline
from cspine.classification.level_classifier import LevelClassifier
from cspine.classification.predict_dataset import classify_dataset
from cspine.core.anatomy import OVERALL
from cspine.core.errors import InputError, LabelError
from cspine.core.files import open_run_directory
from cspine.core.progress import Progress, silent
from cspine.datasets.compiled import CompiledDataset
from cspine.datasets.reference_standard import read_reference_standard
from cspine.dicom.study_collection import StudyCollection, open_collection
from cspine.evaluation.cases import LEVELS
from cspine.evaluation.evaluate import EvaluationResult, EvaluationSettings, evaluate
from cspine.evaluation.predictions import Predictions
from cspine.evaluation.target_metrics import auc_difference
from cspine.localization.compiler import Compiler
from cspine.localization.localizer import Localizer
from cspine.metrics.bootstrap import Interval
from cspine.metrics.delong import AucDifference
from cspine.pipelines.compile import compile_collection
from cspine.training.baseline.settings import TrainSettings
from cspine.training.baseline.train import train
from cspine.training.levels.initialization import export_encoder, load_pretrained
from cspine.training.levels.settings import LevelTrainSettings
from cspine.training.levels.train import train_levels
from cspine.views.level_views import LevelViewSettings
from cspine.views.sagittal import SagittalSettings
from cspine.views.settings import CompileSettings

Network = Literal["baseline-cnn", "levels"]

MARKER: Final = "ablation.json"
NINE: Final = 9
"""What the notebook has."""

MOST: Final = {"baseline-cnn": 99, "levels": 90}


@dataclass(frozen=True)
class AblationRow:
    """One number of views.

    Attributes
    ----------
    views : int
        Sagittal images of a study, or views of each vertebra.
    patients, levels : Interval
        Areas under the ROC curves.
    patients_gap, levels_gap : Difference or None
        Area less that with the reference's number of views; None of the reference itself.
    bytes_per_study : float
        That are read.
    seconds_per_epoch, seconds_per_study : float
        Of training, and of prediction from compiled images on.
    """

    views: int
    patients: Interval
    levels: Interval
    patients_gap: AucDifference | None
    levels_gap: AucDifference | None
    bytes_per_study: float
    seconds_per_epoch: float
    seconds_per_study: float


@dataclass(frozen=True)
class Ablation:
    """What more views are worth.

    Attributes
    ----------
    reference : int
        The number of views that others are held against: nine, or the first.
    """

    network: Network
    reference: int
    rows: tuple[AblationRow, ...]
    judgement: EvaluationResult


@dataclass(frozen=True)
class AblationSettings:
    """How the network is trained each time.

    Attributes
    ----------
    epochs : int
        Passes over the training images, at most; the notebook's network stops early.
    seed : int
        Of split, weights and order.
    workers : int
        Processes that compile.
    """

    network: Network = "baseline-cnn"
    epochs: int = 40
    seed: int = 0
    workers: int = 1


def ablate(
    train_root: Path,
    test_root: Path,
    out: Path,
    views: Sequence[int],
    settings: AblationSettings | None = None,
    *,
    progress: Progress = silent,
) -> Ablation:
    """Compile, train and judge with each number of views; an interrupted run goes on where it stopped.

    `levels` begins each time with the encoder of the weights that come with cspine, which has seen single planes, and
    with a head that knows nothing; `baseline-cnn` begins with random weights.

    Parameters
    ----------
    train_root, test_root : Path
        Folders in the challenge's layout, with labels, of different patients.
    out : Path
        Gets data sets, runs and predictions.
    views : sequence of int
        Numbers of sagittal images (`baseline-cnn`), or of views of each vertebra, spread over the three planes
        (`levels`).
    settings : AblationSettings, optional
        How.
    progress : Progress
        Told of compiling, training and classifying.

    Raises
    ------
    InputError
        A number of views cannot be, or studies are in both folders.
    LabelError
        A folder has no labels.
    OutputTakenError
        `out` holds something else.
    """
    settings = settings or AblationSettings()
    most = MOST[settings.network]
    if not views or min(views) < 1 or max(views) > most or len(set(views)) != len(views):
        raise InputError(f"--views {', '.join(map(str, views))}: takes different numbers from 1 to {most}")
    roots = [open_collection(path, progress=progress) for path in (train_root, test_root)]
    both = {source.study_instance_uid for source in roots[0].studies} & {
        source.study_instance_uid for source in roots[1].studies
    }
    if both:
        raise InputError(f"{test_root}: holds {len(both)} studies that are trained on; give others")
    identity = {
        "kind": "ablation",
        "network": settings.network,
        "epochs": settings.epochs,
        "seed": settings.seed,
        "train": str(train_root.resolve()),
        "test": str(test_root.resolve()),
    }
    open_run_directory(out, MARKER, identity, remedy="choose another --out, or delete it")
    systems, costs = [], {}
    for count in views:
        stores = _compiled(roots, out, count, max(views), settings, progress)
        said, costs[count] = _answers(stores, out, count, settings, progress)
        systems.append(said)
    truth = read_reference_standard(stores[1].folder)  # the same of any number
    answered = set.intersection(*(set(system.probability.index) for system in systems))
    known = truth.select(truth.labels.index[truth.labels.index.isin(answered)])
    judgement = evaluate(known, systems, EvaluationSettings(seed=settings.seed), progress=progress)
    reference = NINE if NINE in views else views[0]
    rows = tuple(_row(judgement, count, reference, costs[count]) for count in views)
    return Ablation(settings.network, reference, rows, judgement)


def _compiled(
    roots: Sequence[StudyCollection], out: Path, count: int, most: int, settings: AblationSettings, progress: Progress
) -> tuple[CompiledDataset, CompiledDataset]:
    """Return both data sets with so many images; views of vertebrae are compiled once, as many as are asked for."""
    made = count if settings.network == "baseline-cnn" else most
    compiler = _compiler(settings.network, made)
    folders = [out / f"{part}-{made}" for part in ("train", "test")]
    for root, folder in zip(roots, folders, strict=True):
        if root.labels_path is None:
            raise LabelError(f"{root.path}: has no train.csv; an ablation needs labels to train and to judge")
        compile_collection(root, folder, compiler, workers=settings.workers, progress=progress)
    return CompiledDataset.open(folders[0]), CompiledDataset.open(folders[1])


def _compiler(network: Network, count: int) -> Compiler:
    if network == "baseline-cnn":
        return Compiler(CompileSettings(spine_aligned=False, sagittal=SagittalSettings(count=count), levels=None))
    sagittal, coronal, axial = spread_views(count)
    levels = LevelViewSettings(sagittal=sagittal, coronal=coronal, axial=axial)
    return Compiler(CompileSettings(levels=levels), Localizer.load())


def spread_views(count: int) -> tuple[int, int, int]:
    """Return sagittal, coronal and axial views, as even as can be.

    >>> spread_views(1), spread_views(5), spread_views(9)
    ((1, 0, 0), (2, 2, 1), (3, 3, 3))
    """
    each, left = divmod(count, 3)
    return each + (left > 0), each + (left > 1), each


def _answers(
    stores: tuple[CompiledDataset, CompiledDataset],
    out: Path,
    count: int,
    settings: AblationSettings,
    progress: Progress,
) -> tuple[Predictions, dict[str, float]]:
    """Train with so many views, and return what is said of the judged studies, and what that costs."""
    run = out / f"run-{count}"
    classifier = _trained(stores[0], run, count, settings, progress)
    started = time.perf_counter()
    said = classify_dataset(stores[1], classifier, progress=progress)
    seconds = (time.perf_counter() - started) / max(len(said), 1)
    curve = pd.read_csv(run / "curves.csv")
    costs = {
        "bytes": _bytes(stores[1], count, settings.network),
        "epoch": float(curve["seconds"].median()),
        "study": seconds,
    }
    return Predictions(f"{count} views", said, phantom_only=classifier.metadata.phantom_only), costs


def _trained(
    store: CompiledDataset, run: Path, count: int, settings: AblationSettings, progress: Progress
) -> Baseline | LevelClassifier:
    """Train where that is not done yet."""
    if settings.network == "baseline-cnn":
        chosen = TrainSettings(seed=settings.seed, epochs=settings.epochs)
        return Baseline.load(train(store, run, chosen, progress=progress).weights)
    views, made = spread_views(count), store.settings.levels
    if made is None:  # pragma: no cover - its compiler makes them
        raise AssertionError(f"{store.folder}: holds no views of vertebrae")
    levels = LevelTrainSettings(
        seed=settings.seed, epochs=settings.epochs, pretrain_epochs=0, train_views=views, eval_views=views
    )
    begin = export_encoder(load_pretrained("levels"), run.parent, made, seed=settings.seed)
    summary = train_levels(store, run, levels, start=begin, progress=progress)
    if summary is None:
        raise InputError("an ablation runs in one process, not under torchrun")
    return LevelClassifier.load(*summary.weights)


def _bytes(store: CompiledDataset, count: int, network: Network) -> float:
    """Return the bytes of a study that are read; of mosaics, the share of the views."""
    table: Any = store.manifest() if network == "baseline-cnn" else store.levels()
    studies = max(int(table["study_instance_uid"].nunique()), 1)
    views = store.settings.levels
    share = 1.0 if views is None else count / views.n_views
    return share * float(table["bytes"].sum()) / studies


def _row(judgement: EvaluationResult, count: int, reference: int, costs: dict[str, float]) -> AblationRow:
    system = next(each for each in judgement.models if each.name == f"{count} views")
    gaps = {what: _gap(judgement, what, count, reference) for what in (OVERALL, LEVELS)}
    return AblationRow(
        count,
        system.target(OVERALL).auc,
        system.target(LEVELS).auc,
        gaps[OVERALL],
        gaps[LEVELS],
        costs["bytes"],
        costs["epoch"],
        costs["study"],
    )


def _gap(judgement: EvaluationResult, what: str, count: int, reference: int) -> AucDifference | None:
    if count == reference:
        return None
    own, other = (judgement.cases[f"{number} views"][what] for number in (count, reference))
    return auc_difference(own, other)
