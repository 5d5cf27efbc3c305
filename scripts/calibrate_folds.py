"""Calibrate the networks of `scripts.level_folds` on phantoms and on real necks that they were not trained on.

Each neck, with and without virtual fractures, is predicted by the network that was trained without it. The network of
all scans is calibrated on these predictions, the network of a fold on those of the necks of the other fold; each
together with its own predictions of a run's validation phantoms, which no network was trained on. Phantoms and necks
weigh alike, and operating points meet their criteria on both.

`scripts.mean_folds` calls it.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Final

import pandas as pd
from benchmarks.progress import log_progress

from cspine.classification.level_classifier import LevelClassifier
from cspine.classification.predict_dataset import read_views
from cspine.core.anatomy import TARGETS
from cspine.core.columns import STUDY
from cspine.core.files import write_json, write_text
from cspine.core.progress import Progress
from cspine.core.run_files import WEIGHTS_FILE
from cspine.datasets.compiled import CompiledDataset
from cspine.models.metadata import LevelsMetadata
from cspine.models.weights import load_weights
from cspine.training.levels.calibration import calibration_metadata
from cspine.training.levels.dataset import CaseFiles, list_cases
from cspine.training.levels.settings import PREVALENCE
from cspine.training.levels.train import PREDICTIONS_FILE
from scripts.level_folds import ALL, FOLDS, NECKS, SOURCES
from scripts.onnx_metadata import update_levels_metadata

CALIBRATED_FILE: Final = "calibrated.onnx"
HELD_OUT_FILE: Final = "held-out.json"


def calibrate_folds(work: Path, data: Path, phantoms: Path, validation: Path) -> Path:
    """Calibrate all networks and write ``held-out.json``; return the calibrated weights of all necks.

    Parameters
    ----------
    work : Path
        Holds the networks, each in the folder of its fold.
    data : Path
        Folder of `scripts.level_folds`, which holds the virtual studies of the necks.
    phantoms : Path
        Compiled phantoms that hold those of `validation`.
    validation : Path
        Folder of a run, whose validation set none of the networks was trained on.
    """
    progress = log_progress(work / "calibration.log")
    virtual = {neck: CompiledDataset.open(data / "virtual" / neck) for neck in NECKS}
    fold_of = {scan: fold for fold, scans in FOLDS.items() for scan in scans}
    real = {neck: predict_raw(virtual[neck], work / fold_of[neck], neck, progress) for neck in NECKS}
    cases = {neck: list_cases(dataset) for neck, dataset in virtual.items()}
    dataset = CompiledDataset.open(phantoms)
    held_out_phantoms = list(pd.read_csv(validation / PREDICTIONS_FILE, dtype={STUDY: str})[STUDY])
    phantom_cases = {case.study: case for case in list_cases(dataset)}
    if missing := sorted(set(held_out_phantoms) - set(phantom_cases)):
        raise SystemExit(
            f"{phantoms}: lacks {missing[0]}, a validation case of {validation}; name the data of this run"
        )
    validation_cases = [phantom_cases[study] for study in held_out_phantoms]
    for name in (ALL, *FOLDS):
        others = [neck for neck in NECKS if neck not in FOLDS.get(name, ())]
        raw = predict_raw(dataset, work / name, "phantoms", progress, studies=held_out_phantoms)
        calibrated_on = [(raw, validation_cases), *((real[neck], cases[neck]) for neck in others)]
        trained_on = [source for scan, source in SOURCES.items() if scan not in FOLDS.get(name, ())]
        write_calibrated(work / name, calibrated_on, others, trained_on)
    held_out = {scan: str((work / fold / CALIBRATED_FILE).resolve()) for scan, fold in fold_of.items()}
    write_json(work / HELD_OUT_FILE, held_out)
    return work / ALL / CALIBRATED_FILE


def write_calibrated(
    run: Path, parts: list[tuple[pd.DataFrame, list[CaseFiles]]], necks: list[str], trained_on: list[str]
) -> None:
    """Write the weights of a run with their calibration and the sources of their training.

    Parameters
    ----------
    run : Path
        Folder of the run.
    parts : list of (DataFrame, list of CaseFiles)
        Raw probabilities and cases of the validation phantoms and then of each neck.
    necks : list of str
        Names of the necks.
    trained_on : list of str
        Sources and licences of the real scans of the training.
    """
    tables = [raw.reindex([case.study for case in cases]) for raw, cases in parts]
    cases = [case for _, each in parts for case in each]
    n_phantoms = len(parts[0][1])
    groups = ["phantom"] * n_phantoms + ["real"] * (len(cases) - n_phantoms)
    described = (
        f"{n_phantoms} phantom cases (no patient) held out of training, and {len(cases) - n_phantoms} studies with "
        f"and without virtual fractures in {len(necks)} real necks ({', '.join(necks)}) by networks that were trained "
        "without them"
    )
    update = calibration_metadata(pd.concat(tables), cases, PREVALENCE, groups)
    earlier = load_weights(LevelsMetadata, run / WEIGHTS_FILE).metadata.trained_on
    update |= {
        "calibration_data": described,
        "trained_on": f"{earlier}; auxiliary studies are virtual fractures, shams and intact scans of "
        + ", ".join(trained_on),
        "synthetic_only": True,
    }
    update_levels_metadata(run / WEIGHTS_FILE, run / CALIBRATED_FILE, update)


def predict_raw(
    dataset: CompiledDataset, run: Path, name: str, progress: Progress, *, studies: Collection[str] | None = None
) -> pd.DataFrame:
    """Return the raw probabilities of a data set's studies by a network, (studies, 8), from its run's folder if there.

    Parameters
    ----------
    dataset : CompiledDataset
        Studies of a neck, or phantoms.
    run : Path
        Folder of the network's run.
    name : str
        Name of the neck or of the phantoms, for the file.
    progress : Progress
        Called with the number of studies.
    studies : collection of str, optional
        StudyInstanceUIDs of those that are predicted; all where omitted. A network has the same ones in every call.
    """
    classifier, rows = LevelClassifier.load(run / WEIGHTS_FILE), {}
    file = run / f"{name}-{classifier.identity.sha256[:12]}-{dataset.sha256[:12]}.csv"
    if not file.is_file():
        groups = dataset.levels().groupby("study_instance_uid", sort=True)
        chosen = [(str(study), levels) for study, levels in groups if studies is None or str(study) in studies]
        for number, (study, levels) in enumerate(chosen):
            progress(name, number, len(chosen))
            scores = classifier.predict_scores(read_views(dataset, levels))
            rows[study] = [scores.overall, *scores.levels.tolist()]
        table = pd.DataFrame.from_dict(rows, orient="index", columns=list(TARGETS)).rename_axis(STUDY)
        write_text(file, table.to_csv(lineterminator="\n"))
    return pd.read_csv(file, dtype={STUDY: str}).set_index(STUDY)
