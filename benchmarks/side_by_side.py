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
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import pandas as pd

from benchmarks.curved_network import predict_curved, train_curved
from benchmarks.progress import print_progress
from benchmarks.tables import save_table
from cspine.core.anatomy import OVERALL
from cspine.core.files import plain_json, write_json
from cspine.core.processors import default_workers
from cspine.datasets.compiled import CompiledDataset
from cspine.datasets.reference_standard import read_reference_standard
from cspine.evaluation.cases import LEVELS
from cspine.evaluation.evaluate import EvaluationResult, evaluate
from cspine.evaluation.model_comparison import auc_difference
from cspine.evaluation.predictions import Predictions
from cspine.experiments.ablation import NOTEBOOK_VIEWS, AblationCost
from cspine.localization.compiler import PARALLEL_PLANES, Compiler
from cspine.localization.localizer import Localizer
from cspine.phantom import DOMAINS, PhantomSettings
from cspine.phantom.scanner.dicom import Identity
from cspine.pipelines.experiments.ablate import AblationSettings, bytes_per_study, train_and_predict
from cspine.reports.evaluation.sections import Table, format_interval
from cspine.training.curves import CURVES_FILE
from cspine.training.levels.phantom_dataset import write_phantom_datasets
from cspine.training.levels.settings import LevelTrainSettings
from cspine.views.level_views import LevelViewSettings
from cspine.views.settings import CompileSettings

N_TRAIN, N_TEST = 160, 200
TRAIN_SEED, TEST_SEED = 3001, 9090
PREVALENCE, MATRIX, EPOCHS, SEED = 0.75, 320, 4, 1

REFERENCE: Final = "views-9"
"""Method that the others are compared with."""

Datasets = tuple[CompiledDataset, CompiledDataset]
"""Training and test studies, compiled for a method."""


@dataclass(frozen=True)
class Method:
    """A network and the images that it is trained on.

    Attributes
    ----------
    images : str
        Name of the type of images, one of `COMPILERS`.
    run : callable
        Trains on the first of two data sets in a folder, predicts the studies of the second, and measures the cost.
    """

    images: str
    run: Callable[[Datasets, Path], tuple[Predictions, AblationCost]]


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
    models, costs = [], {}
    for name in names:
        method = METHODS[name]
        datasets = train_sets[method.images], test_sets[method.images]
        predictions, costs[name] = method.run(datasets, options.work / name)
        models.append(replace(predictions, name=name))
    result = evaluate_methods(test_sets["curved"], models, options.test)
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
        Types of images to compile, keys of `COMPILERS`.
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
    return evaluate(reference, predictions, progress=print_progress)


def table(result: EvaluationResult, costs: dict[str, AblationCost]) -> Table:
    """Return the table of the benchmarks' page.

    Parameters
    ----------
    result : EvaluationResult
        Evaluation of all methods on the same studies.
    costs : dict of str to AblationCost
        Cost of training and inference by the name of the method.
    """
    header = (
        "method", "patient AUC", "difference", "level AUC", "difference", "bytes per study", "s per epoch",
        "s per study",
    )  # fmt: skip
    rows = []
    for model in result.models:
        accuracy = []
        for cases in (OVERALL, LEVELS):
            accuracy += [format_interval(model.target(cases).auc), _difference(result, model.name, cases)]
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
    return "" if difference is None else format_interval(difference.interval, sign="+")


# --- methods ---------------------------------------------------------------------------------------------------------


def _run_baseline(datasets: Datasets, out: Path) -> tuple[Predictions, AblationCost]:
    settings = AblationSettings("baseline-cnn", seed=SEED)
    return train_and_predict(datasets, out, NOTEBOOK_VIEWS, settings, print_progress)


def _run_views(datasets: Datasets, out: Path, n_views: int) -> tuple[Predictions, AblationCost]:
    settings = AblationSettings("levels", epochs=EPOCHS, seed=SEED)
    return train_and_predict(datasets, out, n_views, settings, print_progress)


def _run_curved(datasets: Datasets, out: Path) -> tuple[Predictions, AblationCost]:
    train, test = datasets
    network = train_curved(train, out, LevelTrainSettings(seed=SEED, epochs=EPOCHS))
    started = time.perf_counter()
    probability = predict_curved(test, network)
    seconds = (time.perf_counter() - started) / len(probability)
    epoch_seconds = float(pd.read_csv(out / CURVES_FILE)["seconds"].median())
    n_bytes = bytes_per_study(test, NOTEBOOK_VIEWS, "baseline-cnn")  # of the sagittal images
    return Predictions("curved", probability, phantom_only=True), AblationCost(n_bytes, epoch_seconds, seconds)


def _views(images: str, n_views: int) -> Method:
    """Return the method that reads each vertebra through a number of views, spread over the three planes."""
    return Method(images, lambda datasets, out: _run_views(datasets, out, n_views))


def _localized(storage: str) -> Compiler:
    views = LevelViewSettings.model_validate({"storage": storage})
    return Compiler(CompileSettings(levels=views), Localizer.load())


COMPILERS: Final[dict[str, Callable[[], Compiler]]] = {
    "straight": lambda: PARALLEL_PLANES,
    "curved": lambda: _localized("jpeg8"),
    "png16": lambda: _localized("png16"),
}

METHODS: Final[dict[str, Method]] = {
    "baseline-cnn": Method("straight", _run_baseline),
    "curved-9": Method("curved", _run_curved),
    "views-3": _views("curved", 3),
    "views-9": _views("curved", 9),
    "views-15": _views("curved", 15),
    "views-9-png16": _views("png16", 9),
}


if __name__ == "__main__":
    main()
