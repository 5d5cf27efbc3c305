"""Methods side by side on the same phantoms: what views of each vertebra gain in accuracy, and what they cost.

Declared before the first evaluation: training on `N_TRAIN` studies of the source domain, evaluation on `N_TEST` of the
shifted domain, with the same epochs for all but the notebook's network; nothing is chosen on the evaluated studies. All
others start from the encoder of the level weights that come with cspine, pretrained on patches of single planes, and
from a randomly initialized head: from random weights, so few cases would not teach the encoder to detect fractures. The
localizer that comes with cspine finds all vertebrae. Level views are trained with default settings: in the first seven
tenths of the epochs, cases are composed of vertebrae of different patients, which a method on whole images cannot do.

- ``baseline-cnn``: the notebook's network on nine straight images;
- ``curved-9``: nine images that follow the spine, through the level network's encoder;
- ``views-3``, ``views-9``, ``views-15``: each vertebra through 1, 3 or 5 views of each plane;
- ``views-9-png16``: nine views in 16 bits without loss, to measure the effect of 8-bit JPEG.

Run: ``python -m benchmarks.side_by_side --work DIR``; an interrupted run resumes.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import pandas as pd

from benchmarks.curved_network import predict_curved, shipped_weights, train_curved
from benchmarks.progress import print_progress
from benchmarks.tables import save_table
from cspine.classification.baseline import Baseline
from cspine.classification.level_classifier import LevelClassifier
from cspine.classification.predict_dataset import classify_dataset
from cspine.core.anatomy import OVERALL
from cspine.core.files import plain_json, write_json
from cspine.core.parallel import default_workers
from cspine.datasets.compiled import CompiledDataset
from cspine.datasets.reference_standard import read_reference_standard
from cspine.evaluation.cases import LEVELS
from cspine.evaluation.evaluate import EvaluationResult, judge
from cspine.evaluation.predictions import Predictions
from cspine.evaluation.target_metrics import auc_difference
from cspine.localization.compiler import PARALLEL_PLANES, Compiler
from cspine.localization.localizer import Localizer
from cspine.phantom import DOMAINS, PhantomSettings
from cspine.phantom.scanner.dicom import Identity
from cspine.reports.evaluation.sections import Table, show
from cspine.training.baseline.settings import BaselineTrainSettings
from cspine.training.baseline.train import train_baseline
from cspine.training.levels.initialization import export_encoder
from cspine.training.levels.phantom_dataset import write_phantom_datasets
from cspine.training.levels.settings import LevelTrainSettings
from cspine.training.levels.train import train_levels
from cspine.views.level_views import LevelViewSettings
from cspine.views.settings import CompileSettings

N_TRAIN, N_TEST = 160, 200
TRAIN_SEED, TEST_SEED = 3001, 9090
PREVALENCE, MATRIX, EPOCHS = 0.75, 320, 4

REFERENCE: Final = "views-9"
"""Method that the others are compared with."""

Predict = Callable[[CompiledDataset], pd.DataFrame]
"""Predicts every study of a data set: indexed by StudyInstanceUID, columns `TARGETS`."""


@dataclass(frozen=True)
class Method:
    """A network and the images that it is trained on.

    Attributes
    ----------
    images : str
        One of `COMPILERS`.
    train : callable
        Trains on a data set in a run folder.
    n_views : int or None
        Views of each vertebra that the network reads; None where it reads the sagittal images.
    """

    images: str
    train: Callable[[CompiledDataset, Path], Predict]
    n_views: int | None = None


@dataclass(frozen=True)
class Costs:
    """Cost of a method, from compiled images on.

    Attributes
    ----------
    bytes_per_study : float
        Of the images that are read; of a mosaic of views, the fraction of the views.
    seconds_per_epoch, seconds_per_study : float
        Of training and of prediction.
    """

    bytes_per_study: float
    seconds_per_epoch: float
    seconds_per_study: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="run folder")
    parser.add_argument("--only", choices=list(METHODS), action="append", help="this method; may be repeated")
    parser.add_argument("--train", type=int, default=N_TRAIN, help="number of training studies")
    parser.add_argument("--test", type=int, default=N_TEST, help="number of evaluated studies")
    options = parser.parse_args()
    names = options.only or list(METHODS)
    images = sorted({"curved", *(METHODS[name].images for name in names)})
    train_sets = write_datasets(options.work, images, "train", options.train, TRAIN_SEED)
    test_sets = write_datasets(options.work, images, "test", options.test, TEST_SEED)
    predictions, costs = [], {}
    for name in names:
        method = METHODS[name]
        predict = method.train(train_sets[method.images], options.work / name)
        started = time.perf_counter()
        probability = predict(test_sets[method.images])
        seconds = (time.perf_counter() - started) / len(probability)
        costs[name] = Costs(
            bytes_per_study(test_sets[method.images], method.n_views), epoch_seconds(options.work / name), seconds
        )
        predictions.append(Predictions(name, probability, phantom_only=True))
    result = evaluate_methods(test_sets["curved"], predictions, options.test)
    numbers = {"costs": {name: asdict(cost) for name, cost in costs.items()}, "evaluation": result.to_json()}
    write_json(options.work / "side-by-side.json", plain_json(numbers))
    save_table(options.work, "side-by-side", table(result, costs))


def write_datasets(work: Path, images: list[str], name: str, n_studies: int, seed: int) -> dict[str, CompiledDataset]:
    """Draw the phantoms of the training or the test set once and compile them for each kind of images.

    Parameters
    ----------
    work : Path
        Gets a data set for each.
    images : list of str
        Of `COMPILERS`.
    name : str
        ``train``, drawn from the source domain, or ``test``, from the shifted one.
    n_studies, seed : int
        Number of studies, and their seed.
    """
    source = PhantomSettings(prevalence=PREVALENCE, matrix=MATRIX)
    stores = write_phantom_datasets(
        {work / f"{name}-{which}": COMPILERS[which]() for which in images},
        studies=n_studies,
        seed=seed,
        settings=source if name == "train" else DOMAINS["shifted"],
        workers=default_workers(),
        progress=print_progress,
    )
    return dict(zip(images, stores, strict=True))


def evaluate_methods(store: CompiledDataset, predictions: list[Predictions], n_studies: int) -> EvaluationResult:
    """Evaluate all methods on the studies in which vertebrae were found: on others only the baseline predicts."""
    studies = {Identity(TEST_SEED, number, "shifted").study_uid for number in range(n_studies)}
    shared = studies & set(store.levels()["study_instance_uid"].astype(str))
    reference = read_reference_standard(store.folder)
    reference = reference.select(reference.labels.index[reference.labels.index.isin(list(shared))])
    return judge(reference, predictions, progress=print_progress)


def bytes_per_study(store: CompiledDataset, n_views: int | None) -> float:
    """Return the bytes of a study that a method reads.

    Parameters
    ----------
    store : CompiledDataset
        Compiled for the method.
    n_views : int or None
        Views of each vertebra that are read out of a mosaic; None for the sagittal images.
    """
    settings = store.settings.levels
    images = store.manifest() if n_views is None else store.levels()
    fraction = 1.0 if n_views is None or settings is None else n_views / settings.n_views
    return fraction * float(images["bytes"].sum()) / store.manifest()["study_instance_uid"].nunique()


def epoch_seconds(run: Path) -> float:
    """Return the median time of an epoch of a run."""
    return float(pd.read_csv(run / "curves.csv")["seconds"].median())


def table(result: EvaluationResult, costs: dict[str, Costs]) -> Table:
    """Return the table of the benchmarks' page.

    Parameters
    ----------
    result : EvaluationResult
        Of all methods.
    costs : dict of str to Costs
        By method.
    """
    header = (
        "method", "patient AUC", "difference", "level AUC", "difference", "bytes per study", "s per epoch",
        "s per study",
    )  # fmt: skip
    rows = []
    for model in result.systems:
        accuracy = []
        for cases in (OVERALL, LEVELS):
            accuracy += [show(model.row(cases).auc), _difference(result, model.name, cases)]
        cost = costs[model.name]
        rows.append(
            (
                model.name,
                *accuracy,
                f"{cost.bytes_per_study:,.0f}",
                f"{cost.seconds_per_epoch:.1f}",
                f"{cost.seconds_per_study:.3f}",
            )
        )
    return Table(header, tuple(rows))


def _difference(result: EvaluationResult, name: str, cases: str) -> str:
    """Return a method's AUC minus that of the reference method, on the same cases."""
    if name == REFERENCE or REFERENCE not in result.cases:
        return ""
    difference = auc_difference(result.cases[name][cases], result.cases[REFERENCE][cases])
    return "" if difference is None else show(difference.interval, sign="+")


# --- methods ---------------------------------------------------------------------------------------------------------


def _train_baseline(store: CompiledDataset, out: Path) -> Predict:
    summary = train_baseline(store, out, BaselineTrainSettings(seed=1), progress=print_progress)
    if summary is None:  # pragma: no cover - this is one process
        raise AssertionError("the run belongs to another process")
    network = Baseline.load(summary.weights)
    return lambda test: classify_dataset(test, network)


def _train_views(views: tuple[int, int, int], store: CompiledDataset, out: Path) -> Predict:
    settings = LevelTrainSettings(seed=1, pretrain_epochs=0, epochs=EPOCHS, train_views=views, eval_views=views)
    encoder = export_encoder(shipped_weights(), out.parent, LevelViewSettings(), seed=1)
    summary = train_levels(store, out, settings, start=encoder, progress=print_progress)
    if summary is None:  # pragma: no cover - this is one process
        raise AssertionError("the run belongs to another process")
    classifier = LevelClassifier.load(*summary.weights)
    return lambda test: classify_dataset(test, classifier)


def _train_curved(store: CompiledDataset, out: Path) -> Predict:
    network = train_curved(store, out, LevelTrainSettings(seed=1, epochs=EPOCHS))
    return lambda test: predict_curved(test, network)


def _level_views(images: str, per_plane: int) -> Method:
    """Return the method that reads each vertebra through so many views of each plane."""
    views = (per_plane, per_plane, per_plane)
    return Method(images, lambda store, out: _train_views(views, store, out), n_views=sum(views))


def _localized(storage: str) -> Compiler:
    views = LevelViewSettings.model_validate({"storage": storage})
    return Compiler(CompileSettings(levels=views), Localizer.load())


COMPILERS: Final[dict[str, Callable[[], Compiler]]] = {
    "straight": lambda: PARALLEL_PLANES,
    "curved": lambda: _localized("jpeg8"),
    "png16": lambda: _localized("png16"),
}

METHODS: Final[dict[str, Method]] = {
    "baseline-cnn": Method("straight", _train_baseline),
    "curved-9": Method("curved", _train_curved),
    "views-3": _level_views("curved", 1),
    "views-9": _level_views("curved", 3),
    "views-15": _level_views("curved", 5),
    "views-9-png16": _level_views("png16", 3),
}


if __name__ == "__main__":
    main()
