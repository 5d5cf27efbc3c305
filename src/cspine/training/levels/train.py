"""Training of the level network: from a compiled data set to calibrated ONNX weights.

Folds, the stages of the curriculum (see `cspine.training.levels`), calibration on the validation set, export.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from lightning_fabric import Fabric

from cspine import __version__
from cspine.core.anatomy import RESEARCH_USE_ONLY, TARGETS
from cspine.core.columns import STUDY
from cspine.core.errors import LabelError
from cspine.core.files import write_text
from cspine.core.progress import Progress, silent
from cspine.core.run_files import SPLIT_FILE, WEIGHTS_FILE
from cspine.core.settings import digest
from cspine.datasets.compiled import CompiledDataset
from cspine.datasets.locked_split import TRAIN, VALIDATION, LockedSplit
from cspine.datasets.stratified_split import split_patients
from cspine.metrics.rsna2022 import POSITIVE_FACTOR, best_constants
from cspine.models.metadata import LevelsMetadata
from cspine.training.curves import draw_curves
from cspine.training.devices import open_fabric
from cspine.training.export import StateDict, export_onnx
from cspine.training.levels.calibration import calibration_metadata, predict_cases
from cspine.training.levels.dataset import CaseFiles
from cspine.training.levels.initialization import load_pretrained
from cspine.training.levels.network import LevelNetwork
from cspine.training.levels.onnx_graph import level_graph
from cspine.training.levels.patch_pretraining import FracturePatchNetwork, FracturePatchTask
from cspine.training.levels.settings import LevelTrainSettings
from cspine.training.levels.task import LevelTask
from cspine.training.levels.training_data import LevelTrainingData
from cspine.training.summary import TrainingSummary
from cspine.training.trainer import TrainingResult, fit, open_run

PRETRAINING_FOLDER: Final = "pretraining"
"""Folder in a run's folder: patch pretraining of the encoder."""

PREDICTIONS_FILE: Final = "out-of-fold.csv"
"""Raw probabilities of the validation cases, each by the network that was not trained on it."""


@dataclass(frozen=True)
class _FoldResult:
    """A fold's network, its training set, and its raw probabilities of the validation set."""

    result: TrainingResult[LevelNetwork]
    train: Sequence[CaseFiles]
    raw: pd.DataFrame


def train_levels(
    dataset: CompiledDataset,
    out: Path,
    settings: LevelTrainSettings,
    *,
    split: LockedSplit | None = None,
    auxiliary_data: Sequence[CompiledDataset] = (),
    init_weights: str | Path | None = None,
    progress: Progress = silent,
) -> TrainingSummary | None:
    """Train a level network, or one per fold; an interrupted run is resumed after its last epoch.

    Parameters
    ----------
    dataset : CompiledDataset
        With labels and views of vertebrae.
    out : Path
        The run's folder: checkpoint, learning curves, split, raw predictions of the validation cases, and
        ``weights.onnx``. Of all folds, a folder for each, and ``weights-0.onnx`` etc. with a common calibration.
    settings : LevelTrainSettings
        Hyperparameters of optimization, batches and data.
    split : LockedSplit, optional
        Its part 'train' is the training set and its part 'validation' the validation set, in place of folds.
    auxiliary_data : sequence of CompiledDataset
        Cases of other patients, phantoms, or virtual fractures in real scans, for pretraining, resampled vertebrae and,
        by `LevelTrainSettings.auxiliary_fraction`, complete cases; never in the validation set.
    init_weights : str or Path, optional
        Weights to fine-tune in place of random ones: a name that `cspine weights` lists, or a file. Patients whom they
        were trained on must not be held out, since validation and calibration on them would be optimistic.
    progress
        As of `cspine.training.trainer.fit`.

    Returns
    -------
    TrainingSummary or None
        None where `cspine.training.trainer.fit` returns None.

    Raises
    ------
    LabelError
        There are too few labeled cases; `auxiliary_data` or the data of `init_weights` were compiled with other
        settings; `init_weights` were trained on held-out patients; `split` does not know the cases, or folds are
        requested beside it.
    WeightsError
        `init_weights` cannot be used.
    OutputTakenError
        `out` holds something else, or a run with other settings or data.
    InputError, DiskFullError, OutputError
        As by `cspine.training.trainer.fit`.
    """
    fold = settings.only_fold if settings.fold is None else settings.fold
    if fold is not None and fold >= settings.folds:
        raise LabelError(f"fold {fold} does not exist: {settings.folds} are counted from 0; give a lower one")
    pretrained = load_pretrained(init_weights) if init_weights is not None else None
    data = LevelTrainingData.load(dataset, auxiliary_data, pretrained)
    if auxiliary_data and not settings.resampled_epochs and not settings.auxiliary_fraction:
        raise LabelError(
            f"{auxiliary_data[0].folder}: none of {settings.epochs} epochs resamples vertebrae, so that auxiliary data "
            "are not used; train for more epochs, or give auxiliary_fraction"
        )
    if split is not None:
        data, folds, settings = _apply_split(data, split, settings)
    else:
        folds = _draw_folds(data.cases, settings)
    data.check_leakage(set(folds.index if settings.fold is None else folds.index[folds == settings.fold]))
    fabric = open_fabric(settings)
    open_run(fabric, out, _identity(data, settings, split))
    results = []
    for fold in settings.folds_to_train:
        task = _build_task(data, set(folds.index[folds == fold]), settings, fabric.world_size)
        folder = out if settings.fold is not None else out / f"fold-{fold}"
        fold_result = _train_fold(fabric, data, task, folder, settings, progress)
        if fold_result is not None:
            results.append(fold_result)
    if not results:
        return None
    if settings.only_fold is not None:  # the call without it calibrates and exports the ensemble
        last = results[-1].result
        return TrainingSummary(len(last.curve), last.best_epoch, last.best_loss, last.resumed_from, ())
    write_text(out / SPLIT_FILE, folds.rename("fold").rename_axis(STUDY).to_csv(lineterminator="\n"))
    which = f"all {settings.folds} folds" if settings.fold is None else f"fold {settings.fold} of {settings.folds}"
    held_out = f"the part {VALIDATION} of the split {split.sha256[:12]}" if split else which
    return _calibrate_and_export(data, results, out, settings, held_out=held_out)


def _identity(data: LevelTrainingData, settings: LevelTrainSettings, split: LockedSplit | None) -> dict[str, object]:
    """Return what makes it the same run."""
    identity = {"format": 4, "kind": "levels run", "settings": settings.model_dump(mode="json"), "data": data.hash}
    if data.pretrained is not None:
        identity["init_weights"] = data.pretrained.sha256
    if split is not None:
        identity["split"] = split.sha256
    return identity


def _train_fold(
    fabric: Fabric,
    data: LevelTrainingData,
    task: LevelTask,
    folder: Path,
    settings: LevelTrainSettings,
    progress: Progress,
) -> _FoldResult | None:
    """Pretrain the encoder, train the network, and predict the validation set."""
    encoder = _pretrain_encoder(fabric, task, folder, settings, _network_builder(data), progress)
    result = fit(fabric, _network_builder(data, encoder), task, folder, settings, progress=progress)
    if result is None:
        return None
    draw_curves(folder, result.curve, title=f"levels, seed {settings.seed}", is_phantom=data.phantom_only)
    raw = predict_cases(result.network, task.validation, data.views, settings.eval_views_of(data.views))
    return _FoldResult(result, task.train, raw)


def _pretrain_encoder(
    fabric: Fabric,
    task: LevelTask,
    folder: Path,
    settings: LevelTrainSettings,
    build_network: Callable[[], LevelNetwork],
    progress: Progress,
) -> StateDict | None:
    """Return the weights of an encoder pretrained on patches; None where the fractured cells are not known."""
    patches = FracturePatchTask([*task.train, *task.auxiliary], task.validation, task.views, settings)
    if not settings.pretrain_epochs or patches.is_empty:
        return None
    (folder / PRETRAINING_FOLDER).mkdir(exist_ok=True, parents=True)
    result = fit(
        fabric,
        lambda: FracturePatchNetwork(build_network().encoder),
        patches,
        folder / PRETRAINING_FOLDER,
        settings.pretraining,
        stage="pretraining steps",
        progress=progress,
    )
    encoder = FracturePatchNetwork.encoder_of(result.network) if result else None
    state: StateDict | None = fabric.broadcast(encoder)
    return state


def _network_builder(data: LevelTrainingData, encoder: StateDict | None = None) -> Callable[[], LevelNetwork]:
    """Return a function that builds a network with its initial weights, and a pretrained encoder where given."""

    def build() -> LevelNetwork:
        network = LevelNetwork(len(data.fracture_types), half_mm=data.views.half_mm)
        if data.pretrained is not None:
            data.pretrained.load_into(network, data.fracture_types)
        if encoder is not None:
            network.encoder.load_state_dict(encoder)
        return network

    return build


def _build_task(data: LevelTrainingData, held_out: set[str], settings: LevelTrainSettings, processes: int) -> LevelTask:
    """Split the cases into training and validation set."""
    train = [case for case in data.cases if case.study not in held_out]
    validation = [case for case in data.cases if case.study in held_out]
    if len(train) < settings.batch_size * processes or not validation:
        raise LabelError(
            f"{data.dataset.folder}: {len(data.cases)} cases are too few for {settings.folds} folds; compile more"
        )
    return LevelTask(train, validation, data.auxiliary, data.views, data.fracture_types, settings)


def _calibrate_and_export(
    data: LevelTrainingData, results: Sequence[_FoldResult], out: Path, settings: LevelTrainSettings, *, held_out: str
) -> TrainingSummary:
    """Calibrate on predictions of cases that the networks were not trained on, and export."""
    raw = pd.concat([each.raw for each in results])
    write_text(out / PREDICTIONS_FILE, raw.to_csv(lineterminator="\n"))
    cases = {case.study: case for case in data.cases}
    calibration = calibration_metadata(raw, [cases[str(study)] for study in raw.index], settings.prevalence)
    counts = settings.eval_views_of(data.views)
    files = []
    for number, each in enumerate(results):
        truth = np.array([case.truth for case in each.train])
        metadata = LevelsMetadata(
            trained_on=data.describe(each.train, seed=settings.seed, epoch=each.result.best_epoch),
            phantom_only=data.phantom_only,
            pretrained_sha256=data.pretrained.sha256 if data.pretrained else "",
            training_patients=data.training_patients(each.train),
            software=__version__,
            sagittal=data.dataset.settings.sagittal,
            views=data.views,
            inference_views=counts,
            fracture_types=data.fracture_types,
            fracture_types_by_level=data.fracture_types_by_level,
            localizer_sha256=data.dataset.localizer_sha256 or "",
            positive_weight=POSITIVE_FACTOR,
            prevalence=tuple(truth.mean(axis=0).tolist()),
            best_constants=tuple(best_constants(truth).tolist()),
            calibration_prevalence=settings.prevalence,
            calibration_data=f"{len(raw)} {data.population} held out of training ({held_out})",
            **calibration,
            training=settings.model_dump(mode="json"),
            settings_hash=digest([settings.hash, data.dataset.settings.hash])[:16],
            data_hash=data.hash,
            statement=RESEARCH_USE_ONLY,
        )
        files.append(out / (WEIGHTS_FILE if len(results) == 1 else f"weights-{number}.onnx"))
        export_onnx(level_graph(each.result.network, data.views, counts), metadata, files[-1])
    last, is_calibrated = results[-1].result, not calibration["calibration_underpowered"]
    return TrainingSummary(
        len(last.curve), last.best_epoch, last.best_loss, last.resumed_from, tuple(files), is_calibrated
    )


def _apply_split(
    data: LevelTrainingData, split: LockedSplit, settings: LevelTrainSettings
) -> tuple[LevelTrainingData, "pd.Series[int]", LevelTrainSettings]:
    """Return the cases of a split's training and validation part, these as folds 1 and 0, and settings to match."""
    if settings.fold is None:
        raise LabelError(f"a split holds out its part '{VALIDATION}'; leave --all-folds out")
    parts = split.train_val_assignment([case.study for case in data.cases])
    held_out = {study for part, studies in split.parts.items() if part != TRAIN for study in studies}
    data.check_leakage(held_out)
    leaked = [case.study for case in data.auxiliary if case.study in held_out]
    if leaked:
        raise LabelError(
            f"the auxiliary data hold {len(leaked)} studies that the split keeps out of training (first: {leaked[0]}); "
            "remove them"
        )
    folds = (parts != VALIDATION).astype(int)
    return data.select(set(folds.index)), folds, settings.model_copy(update={"folds": 2, "fold": 0})


def _draw_folds(cases: Sequence[CaseFiles], settings: LevelTrainSettings) -> "pd.Series[int]":
    """Return each study's fold, by patient and stratified by all targets."""
    index = pd.Index([case.study for case in cases])
    labels = pd.DataFrame([case.truth for case in cases], index=index, columns=list(TARGETS))
    patients = pd.Series([case.patient for case in cases], index=index)
    parts = {str(number): 1.0 / settings.folds for number in range(settings.folds)}
    return split_patients(labels, patients, parts, seed=settings.seed).astype(int)
