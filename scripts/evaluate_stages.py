"""Evaluate the level weights of several training stages on the validation set of the last one.

The last stage's epoch was selected, and its probabilities calibrated, on these cases, so its results are optimistic.

Run: ``python -m scripts.evaluate_stages --data DATASET --run RUN --weights NAME=FILE ... --work DIR``, with the phantom
data set and the run of that stage, as `scripts.make_weights` leaves them.
"""

import argparse
from pathlib import Path

import pandas as pd
from benchmarks.tables import save_table

from cspine.classification.level_classifier import LevelClassifier
from cspine.core.anatomy import OVERALL
from cspine.core.columns import STUDY
from cspine.datasets.compiled import CompiledDataset
from cspine.datasets.reference_standard import read_reference_standard
from cspine.evaluation.cases import LEVELS
from cspine.evaluation.evaluate import ModelResult, evaluate
from cspine.reports.evaluation.sections import Table, format_interval
from cspine.training.levels.train import PREDICTIONS_FILE
from scripts.evaluate_shifted import CLEAR_OR_OBVIOUS, predict, select_studies, subgroup_auc


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="compiled phantoms of the last stage")
    parser.add_argument("--run", type=Path, required=True, help="run folder of the last stage")
    parser.add_argument("--weights", nargs="+", required=True, metavar="NAME=FILE", help="weights to evaluate")
    parser.add_argument("--tta", action="store_true", help="the last weights once more, with test-time augmentation")
    parser.add_argument("--work", type=Path, required=True, help="run folder")
    options = parser.parse_args()
    store = CompiledDataset.open(options.data)
    validation = pd.read_csv(options.run / PREDICTIONS_FILE)[STUDY].astype(str).unique()
    reference = select_studies(read_reference_standard(options.data), list(validation))
    predictions = [
        predict(store, classifier, reference, name=name)
        for name, classifier in load_classifiers(options.weights, tta=options.tta).items()
    ]
    result = evaluate(reference, predictions)
    header = ("weights", "levels, all", "levels, clear or obvious", "patients, all", "patients, clear or obvious")
    save_table(options.work, "training-stages", Table(header, tuple(map(table_row, result.models))))


def load_classifiers(weights: list[str], *, tta: bool) -> dict[str, LevelClassifier]:
    """Load classifiers.

    Parameters
    ----------
    weights : list of str
        ``NAME=FILE`` for each of the weights to evaluate.
    tta : bool
        Whether to add the last one with test-time augmentation.

    Returns
    -------
    dict of str to LevelClassifier
        By name, in the same order.
    """
    files = dict(named.split("=", 1) for named in weights)
    classifiers = {name: LevelClassifier.load(Path(file)) for name, file in files.items()}
    if tta:
        name, file = list(files.items())[-1]
        classifiers[f"{name}, with test-time augmentation"] = LevelClassifier.load(Path(file), tta=True)
    return classifiers


def table_row(model: ModelResult) -> tuple[str, ...]:
    """Return a model's AUCs as a row of the table."""
    aucs = (
        model.target(LEVELS).auc,
        subgroup_auc(model, CLEAR_OR_OBVIOUS, "vertebrae"),
        model.target(OVERALL).auc,
        subgroup_auc(model, CLEAR_OR_OBVIOUS, "patients"),
    )
    return (model.name, *map(format_interval, aucs))


if __name__ == "__main__":
    main()
