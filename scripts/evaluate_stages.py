"""Level weights of several rounds on the necks that the last one held out.

The last round's epoch was chosen, and its probabilities calibrated, on these necks, so that they flatter it.

Run: ``python -m benchmarks.rounds --store DATASET --run RUN --weights NAME=FILE ... --work DIR``, of `cspine.training`'s
phantom data set and run of that round.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.hidden import CLEAR, Neck, cases_of, groups_of, interval_of, patients_of, read
from benchmarks.tables import keep
from cspine.classification.level_classifier import LevelClassifier
from cspine.core.columns import STUDY
from cspine.datasets.compiled import CompiledDataset
from cspine.reports.evaluation.sections import Table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--weights", nargs="+", required=True, metavar="NAME=FILE")
    parser.add_argument("--tta", action="store_true", help="the last weights once more, looked at in a mirror too")
    parser.add_argument("--work", type=Path, required=True)
    options = parser.parse_args()
    folds = pd.read_csv(options.run / "out-of-fold.csv")
    necks = list(read(CompiledDataset.open(options.store), [str(uid) for uid in folds[STUDY].unique()]))
    named = [tuple(each.split("=", 1)) for each in options.weights]
    classifiers = [(name, LevelClassifier.load(Path(file))) for name, file in named]
    if options.tta:
        name, file = named[-1]
        classifiers.append((f"{name}, looked at in a mirror too", LevelClassifier.load(Path(file), tta=True)))
    rows = tuple((name, *areas(necks, classifier)) for name, classifier in classifiers)
    header = ("weights", "levels, all", "levels, clear or obvious", "patients, all", "patients, clear or obvious")
    keep(options.work, "rounds", Table(header, rows))


def areas(necks: list[Neck], classifier: LevelClassifier) -> tuple[str, str, str, str]:
    """Return areas under the ROC curves, as the table has them."""
    said = [classifier.calibrated(classifier.scores(neck.views)) for neck in necks]
    cases = cases_of(necks, np.array([levels for levels, _ in said]))
    patients = patients_of(necks, np.array([overall for _, overall in said]))
    groups, seen = groups_of(cases), patients["best"].isin([*CLEAR, "none"])
    found = [
        *(interval_of(cases, groups[name]) for name in ("all", "clear or obvious")),
        interval_of(patients),
        interval_of(patients, seen),
    ]
    return tuple(f"{each.value:.3f}" for each in found)  # type: ignore[return-value]


if __name__ == "__main__":
    main()
