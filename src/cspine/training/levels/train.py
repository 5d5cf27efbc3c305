"""A level network from a compiled data set: folds, training, calibration, export."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from lightning_fabric import Fabric

from cspine import __version__
from cspine.core.anatomy import RESEARCH_USE_ONLY, TARGETS
from cspine.core.errors import LabelError
from cspine.core.files import write_text
from cspine.core.progress import Progress, silent
from cspine.core.settings import digest
from cspine.datasets.compiled import CompiledDataset
from cspine.datasets.locked_split import TRAIN, VALIDATION, LockedSplit
from cspine.datasets.stratified_split import split_patients
from cspine.metrics.rsna2022 import best_constants
from cspine.models.metadata import LevelsMetadata
from cspine.training.baseline.train import SPLIT_FILE, WEIGHTS_FILE
from cspine.training.curves import draw_curves
from cspine.training.export import export_onnx
from cspine.training.levels.calibration import POSITIVE_WEIGHT, calibrated, predict_cases
from cspine.training.levels.dataset import CaseFiles
from cspine.training.levels.initialization import State, load_pretrained
from cspine.training.levels.network import LevelNetwork
from cspine.training.levels.onnx_graph import level_graph
from cspine.training.levels.patch_pretraining import FracturePatchNetwork, FracturePatchTask
from cspine.training.levels.settings import LevelTrainSettings
from cspine.training.levels.task import LevelTask
from cspine.training.levels.training_data import LevelTrainingData
from cspine.training.trainer import Fitted, claim_run, fit, open_fabric

CRACKS_FOLDER: Final = "cracks"
"""In a run's folder: the encoder's training on pieces."""

PREDICTIONS_FILE: Final = "out-of-fold.csv"
"""What was said of patients by networks that were not trained on them."""


@dataclass(frozen=True)
class LevelSummary:
    """How a run ended, of several folds the last one's; the loss is the challenge's, on the held-out patients.

    Attributes
    ----------
    weights : tuple of Path
        One file for each fold that was trained.
    calibrated : bool
        Whether enough patients were held out to calibrate on.
    """

    epochs: int
    best_epoch: int
    best_loss: float
    resumed_from: int
    weights: tuple[Path, ...]
    calibrated: bool


@dataclass(frozen=True)
class _Part:
    """What one fold's training gave, and what its network says of the patients that it was not trained on."""

    fitted: Fitted
    train: Sequence[CaseFiles]
    raw: pd.DataFrame


def train_levels(
    store: CompiledDataset,
    out: Path,
    settings: LevelTrainSettings,
    *,
    further: CompiledDataset | None = None,
    start: str | Path | None = None,
    frozen: LockedSplit | None = None,
    progress: Progress = silent,
) -> LevelSummary | None:
    """Train a level network, or one for each fold; an interrupted run goes on where its last epoch ended.

    Parameters
    ----------
    store : CompiledDataset
        With labels and vertebrae's views.
    out : Path
        The run's folder: checkpoint, curves, split, what was said of held-out patients, and ``weights.onnx``; of all
        folds, a folder for each and ``weights-0.onnx`` and so on, calibrated together.
    settings : LevelTrainSettings
        How.
    further : CompiledDataset, optional
        Of other patients, or phantoms: gives single vertebrae to the epochs in which those of different necks are put
        together, and is never held out.
    start : str or Path, optional
        Weights to start from in place of random ones, as `cspine weights` names them or a file. Whom they learnt from
        must not be held out: judged and calibrated on as if they were new, they would flatter.
    frozen : LockedSplit, optional
        Learns from its part 'train' and holds out its part 'validation', in place of folds.
    progress : Progress
        Told how many steps are done, of all epochs.

    Returns
    -------
    LevelSummary or None
        None in all of torchrun's processes but the first, which alone writes.

    Raises
    ------
    LabelError
        There are too few labelled necks, `further` or what `start` learnt from was compiled in another way, `start`
        learnt from necks that are held out now, or `frozen` does not know the necks, or folds are asked for beside it.
    WeightsError
        `start` cannot be started from.
    OutputTakenError
        `out` holds something else, or a run with other settings or data.
    DiskFullError, OutputError
        `out` cannot be written.
    """
    if settings.fold is not None and settings.fold >= settings.folds:
        raise LabelError(
            f"fold {settings.fold} is none of {settings.folds}, which are counted from 0; name a lower one"
        )
    material = LevelTrainingData.of(store, further, load_pretrained(start) if start is not None else None)
    if further is not None and not settings.resampled_epochs:
        raise LabelError(
            f"{further.folder}: no epoch of {settings.epochs} mixes necks, so none reads it; train for more"
        )
    if frozen is not None:
        material, split, settings = _as_frozen(material, frozen, settings)  # held-out parts are checked there
    else:
        split = _split(material.cases, settings)
    material.check_held_out(set(split.index if settings.fold is None else split.index[split == settings.fold]))
    identity = {"format": 3, "kind": "levels run", "settings": settings.model_dump(mode="json"), "data": material.hash}
    if material.begun is not None:
        identity["start"] = material.begun.sha256
    if frozen is not None:
        identity["split"] = frozen.sha256
    fabric = open_fabric(settings)
    claim_run(fabric, out, identity)
    parts = []
    for number in range(settings.folds) if settings.fold is None else (settings.fold,):
        task = _lesson(material, set(split.index[split == number]), settings, fabric.world_size)
        where = out if settings.fold is not None else out / f"fold-{number}"
        seen = _pretrain_encoder(fabric, task, where, settings, _builder(material), progress)
        build = _builder(material, seen)
        fitted = fit(fabric, build, task, where, settings, progress=progress)
        if fitted is not None:
            draw_curves(where, fitted.curve, title=f"levels, seed {settings.seed}", phantom=material.phantom_only)
            raw = predict_cases(fitted.network, task.validation, material.views, settings.eval_views_of(material.views))
            parts.append(_Part(fitted, task.train, raw))
    if not parts:
        return None
    write_text(out / SPLIT_FILE, split.rename("fold").rename_axis("StudyInstanceUID").to_csv())
    which = f"all {settings.folds} folds" if settings.fold is None else f"fold {settings.fold} of {settings.folds}"
    held_out = f"the part {VALIDATION} of the split {frozen.sha256[:12]}" if frozen else which
    return _finish(material, parts, out, settings, held_out=held_out)


def _pretrain_encoder(
    fabric: Fabric,
    task: LevelTask,
    where: Path,
    settings: LevelTrainSettings,
    build: Callable[[], LevelNetwork],
    progress: Progress,
) -> State | None:
    """Return the weights of an encoder that has seen pieces with and without cracks; None where none are known."""
    pieces = FracturePatchTask([*task.train, *task.further], task.validation, task.views, settings)
    if not settings.pretrain_epochs or pieces.is_empty:
        return None
    folder, chosen = where / CRACKS_FOLDER, settings.pretraining
    folder.mkdir(exist_ok=True, parents=True)
    fitted = fit(
        fabric,
        lambda: FracturePatchNetwork(build().encoder),
        pieces,
        folder,
        chosen,
        stage="steps over pieces with cracks",
        progress=progress,
    )
    seen = FracturePatchNetwork.encoder_of(fitted.network) if fitted else None
    state: State | None = fabric.broadcast(seen)
    return state


def _builder(material: LevelTrainingData, seen: State | None = None) -> Callable[[], LevelNetwork]:
    """Return what makes a new network, whose encoder has seen cracks where `seen` is given."""

    def build() -> LevelNetwork:
        network = LevelNetwork(len(material.fracture_types), half_mm=material.views.half_mm)
        if material.begun is not None:
            material.begun.fill(network, material.fracture_types)
        if seen is not None:
            network.encoder.load_state_dict(seen)
        return network

    return build


def _lesson(material: LevelTrainingData, held: set[str], settings: LevelTrainSettings, processes: int) -> LevelTask:
    """Return what is learnt from all necks but those that are held out."""
    train = [case for case in material.cases if case.study not in held]
    validation = [case for case in material.cases if case.study in held]
    if len(train) < settings.batch_size * processes or not validation:
        raise LabelError(
            f"{material.store.folder}: {len(material.cases)} necks are too few for {settings.folds} folds; compile more"
        )
    return LevelTask(train, validation, material.further, material.views, material.fracture_types, settings)


def _finish(
    material: LevelTrainingData, parts: Sequence[_Part], out: Path, settings: LevelTrainSettings, *, held_out: str
) -> LevelSummary:
    """Calibrate on what no network was trained on, and export."""
    raw = pd.concat([part.raw for part in parts])
    write_text(out / PREDICTIONS_FILE, raw.to_csv())
    known = {case.study: case for case in material.cases}
    found = calibrated(raw, [known[str(study)] for study in raw.index], settings.prevalence)
    seen = settings.eval_views_of(material.views)
    files = []
    for number, part in enumerate(parts):
        trained = np.array([case.truth for case in part.train])
        epoch = part.fitted.best_epoch
        whom = f"{len(part.train)} {material.who}{material.beside}, seed {settings.seed}, epoch {epoch}"
        metadata = LevelsMetadata(
            trained_on=f"{whom}{material.before}",
            phantom_only=material.phantom_only,
            pretrained_sha256=material.begun.sha256 if material.begun else "",
            training_patients=material.training_patients(part.train),
            software=__version__,
            sagittal=material.store.settings.sagittal,
            views=material.views,
            inference_views=seen,
            fracture_types=material.fracture_types,
            fracture_types_by_level=material.fracture_types_by_level,
            localizer_sha256=material.store.localizer_sha256 or "",
            positive_weight=POSITIVE_WEIGHT,
            prevalence=tuple(trained.mean(axis=0).tolist()),
            best_constants=tuple(best_constants(trained).tolist()),
            calibration_prevalence=settings.prevalence,
            calibration_data=f"{len(raw)} {material.who} held out of training ({held_out})",
            **found,
            training=settings.model_dump(mode="json"),
            settings_hash=digest([settings.hash, material.store.settings.hash])[:16],
            data_hash=material.hash,
            statement=RESEARCH_USE_ONLY,
        )
        files.append(out / (WEIGHTS_FILE if len(parts) == 1 else f"weights-{number}.onnx"))
        export_onnx(level_graph(part.fitted.network, material.views, seen), metadata, files[-1])
    last = parts[-1].fitted
    least = min(row["val_loss"] for row in last.curve)
    return LevelSummary(len(last.curve), last.best_epoch, least, last.resumed_from, tuple(files), not found["too_few"])


def _as_frozen(
    material: LevelTrainingData, frozen: LockedSplit, settings: LevelTrainSettings
) -> tuple[LevelTrainingData, "pd.Series[int]", LevelTrainSettings]:
    """Return the necks that a split lets be seen, its two parts as folds 0 (held out) and 1, and settings to match."""
    if settings.fold is None:
        raise LabelError(f"a split holds out its part '{VALIDATION}'; ask for no folds beside it")
    parts = frozen.train_val_assignment([case.study for case in material.cases])
    kept_away = {study for part, studies in frozen.parts.items() if part != TRAIN for study in studies}
    material.check_held_out(kept_away)
    also = [case.study for case in material.further if case.study in kept_away]
    if also:
        raise LabelError(
            f"the further data hold {len(also)} studies that the split keeps away from training (first: {also[0]}); "
            "leave them out"
        )
    folds = (parts != VALIDATION).astype(int)
    return material.only(set(folds.index)), folds, settings.model_copy(update={"folds": 2, "fold": 0})


def _split(cases: Sequence[CaseFiles], settings: LevelTrainSettings) -> "pd.Series[int]":
    """Return each study's fold, by patient and balanced over all targets."""
    index = pd.Index([case.study for case in cases])
    labels = pd.DataFrame([case.truth for case in cases], index=index, columns=list(TARGETS))
    patients = pd.Series([case.patient for case in cases], index=index)
    parts = {str(number): 1.0 / settings.folds for number in range(settings.folds)}
    return split_patients(labels, patients, parts, seed=settings.seed).astype(int)
