"""A level network from a compiled data set: folds, training, calibration, export."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from lightning_fabric import Fabric

from cspine import __version__
from cspine.anatomy import RESEARCH_USE_ONLY, TARGETS
from cspine.detect.card import LevelsCard
from cspine.errors import LabelError
from cspine.evaluate.frozen import TRAIN, TUNE, FrozenSplit
from cspine.evaluate.kaggle import best_constants
from cspine.evaluate.split import split_patients
from cspine.files import write_text
from cspine.learn.crack_pieces import CrackLesson, CrackNetwork
from cspine.learn.curves import draw_curves
from cspine.learn.export import export_onnx
from cspine.learn.fit import Fitted, claim_run, fit, open_fabric
from cspine.learn.level_calibration import POSITIVE_WEIGHT, calibrated, predict_necks
from cspine.learn.level_data import NeckFiles
from cspine.learn.level_graph import level_graph
from cspine.learn.level_lesson import LevelLesson
from cspine.learn.level_material import Material
from cspine.learn.level_network import LevelNetwork
from cspine.learn.level_settings import LevelTrainSettings
from cspine.learn.loop import SPLIT_FILE, WEIGHTS_FILE
from cspine.learn.start import State, load_start
from cspine.progress import Progress, silent
from cspine.reformat.store import CompiledStore
from cspine.settings import digest

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
    train: Sequence[NeckFiles]
    raw: pd.DataFrame


def train_levels(
    store: CompiledStore,
    out: Path,
    settings: LevelTrainSettings,
    *,
    further: CompiledStore | None = None,
    start: str | Path | None = None,
    frozen: FrozenSplit | None = None,
    progress: Progress = silent,
) -> LevelSummary | None:
    """Train a level network, or one for each fold; an interrupted run goes on where its last epoch ended.

    Parameters
    ----------
    store : CompiledStore
        With labels and vertebrae's views.
    out : Path
        The run's folder: checkpoint, curves, split, what was said of held-out patients, and ``weights.onnx``; of all
        folds, a folder for each and ``weights-0.onnx`` and so on, calibrated together.
    settings : LevelTrainSettings
        How.
    further : CompiledStore, optional
        Of other patients, or phantoms: gives single vertebrae to the epochs in which those of different necks are put
        together, and is never held out.
    start : str or Path, optional
        Weights to start from in place of random ones, as `cspine weights` names them or a file. Whom they learnt from
        must not be held out: judged and calibrated on as if they were new, they would flatter.
    frozen : FrozenSplit, optional
        Learns from its part 'train' and holds out its part 'tune', in place of folds.
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
    material = Material.of(store, further, load_start(start) if start is not None else None)
    if further is not None and not settings.mixed_epochs:
        raise LabelError(
            f"{further.folder}: no epoch of {settings.epochs} mixes necks, so none reads it; train for more"
        )
    if frozen is not None:
        material, split, settings = _as_frozen(material, frozen, settings)  # held-out parts are checked there
    else:
        split = _split(material.necks, settings)
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
        lesson = _lesson(material, set(split.index[split == number]), settings, fabric.world_size)
        where = out if settings.fold is not None else out / f"fold-{number}"
        seen = _see_cracks(fabric, lesson, where, settings, _builder(material), progress)
        build = _builder(material, seen)
        fitted = fit(fabric, build, lesson, where, settings, progress=progress)
        if fitted is not None:
            draw_curves(where, fitted.curve, title=f"levels, seed {settings.seed}", phantom=material.phantom_only)
            raw = predict_necks(fitted.network, lesson.tune, material.views, settings.seen_of(material.views))
            parts.append(_Part(fitted, lesson.train, raw))
    if not parts:
        return None
    write_text(out / SPLIT_FILE, split.rename("fold").rename_axis("StudyInstanceUID").to_csv())
    which = f"all {settings.folds} folds" if settings.fold is None else f"fold {settings.fold} of {settings.folds}"
    held_out = f"the part {TUNE} of the split {frozen.sha256[:12]}" if frozen else which
    return _finish(material, parts, out, settings, held_out=held_out)


def _see_cracks(
    fabric: Fabric,
    lesson: LevelLesson,
    where: Path,
    settings: LevelTrainSettings,
    build: Callable[[], LevelNetwork],
    progress: Progress,
) -> State | None:
    """Return the weights of an encoder that has seen pieces with and without cracks; None where none are known."""
    pieces = CrackLesson([*lesson.train, *lesson.further], lesson.tune, lesson.views, settings)
    if not settings.cracks or pieces.is_empty:
        return None
    folder, chosen = where / CRACKS_FOLDER, settings.of_cracks
    folder.mkdir(exist_ok=True, parents=True)
    fitted = fit(
        fabric,
        lambda: CrackNetwork(build().encoder),
        pieces,
        folder,
        chosen,
        stage="steps over pieces with cracks",
        progress=progress,
    )
    seen = CrackNetwork.encoder_of(fitted.network) if fitted else None
    state: State | None = fabric.broadcast(seen)
    return state


def _builder(material: Material, seen: State | None = None) -> Callable[[], LevelNetwork]:
    """Return what makes a new network, whose encoder has seen cracks where `seen` is given."""

    def build() -> LevelNetwork:
        network = LevelNetwork(len(material.kinds), half_mm=material.views.half_mm)
        if material.begun is not None:
            material.begun.fill(network, material.kinds)
        if seen is not None:
            network.encoder.load_state_dict(seen)
        return network

    return build


def _lesson(material: Material, held: set[str], settings: LevelTrainSettings, processes: int) -> LevelLesson:
    """Return what is learnt from all necks but those that are held out."""
    train = [neck for neck in material.necks if neck.study not in held]
    tune = [neck for neck in material.necks if neck.study in held]
    if len(train) < settings.batch * processes or not tune:
        raise LabelError(
            f"{material.store.folder}: {len(material.necks)} necks are too few for {settings.folds} folds; compile more"
        )
    return LevelLesson(train, tune, material.further, material.views, material.kinds, settings)


def _finish(
    material: Material, parts: Sequence[_Part], out: Path, settings: LevelTrainSettings, *, held_out: str
) -> LevelSummary:
    """Calibrate on what no network was trained on, and export."""
    raw = pd.concat([part.raw for part in parts])
    write_text(out / PREDICTIONS_FILE, raw.to_csv())
    known = {neck.study: neck for neck in material.necks}
    found = calibrated(raw, [known[str(study)] for study in raw.index], settings.prevalence)
    seen = settings.seen_of(material.views)
    files = []
    for number, part in enumerate(parts):
        trained = np.array([neck.truth for neck in part.train])
        epoch = part.fitted.best_epoch
        whom = f"{len(part.train)} {material.who}{material.beside}, seed {settings.seed}, epoch {epoch}"
        card = LevelsCard(
            trained_on=f"{whom}{material.before}",
            phantom_only=material.phantom_only,
            started_from=material.begun.sha256 if material.begun else "",
            learnt_from=material.learnt_from(part.train),
            software=__version__,
            sagittal=material.store.settings.sagittal,
            views=material.views,
            seen=seen,
            kinds=material.kinds,
            kinds_at=material.kinds_at,
            localizer_sha256=material.store.localizer_sha256 or "",
            positive_weight=POSITIVE_WEIGHT,
            prevalence=tuple(trained.mean(axis=0).tolist()),
            best_constants=tuple(best_constants(trained).tolist()),
            calibrated_for=settings.prevalence,
            calibrated_on=f"{len(raw)} {material.who} held out of training ({held_out})",
            **found,
            training=settings.model_dump(mode="json"),
            settings_hash=digest([settings.hash, material.store.settings.hash])[:16],
            data_hash=material.hash,
            statement=RESEARCH_USE_ONLY,
        )
        files.append(out / (WEIGHTS_FILE if len(parts) == 1 else f"weights-{number}.onnx"))
        export_onnx(level_graph(part.fitted.network, material.views, seen), card, files[-1])
    last = parts[-1].fitted
    least = min(row["tune_loss"] for row in last.curve)
    return LevelSummary(len(last.curve), last.best_epoch, least, last.resumed_from, tuple(files), not found["too_few"])


def _as_frozen(
    material: Material, frozen: FrozenSplit, settings: LevelTrainSettings
) -> tuple[Material, "pd.Series[int]", LevelTrainSettings]:
    """Return the necks that a split lets be seen, its two parts as folds 0 (held out) and 1, and settings to match."""
    if settings.fold is None:
        raise LabelError(f"a split holds out its part '{TUNE}'; ask for no folds beside it")
    parts = frozen.to_learn([neck.study for neck in material.necks])
    kept_away = {study for part, studies in frozen.parts.items() if part != TRAIN for study in studies}
    material.check_held_out(kept_away)
    also = [neck.study for neck in material.further if neck.study in kept_away]
    if also:
        raise LabelError(
            f"the further data hold {len(also)} studies that the split keeps away from training (first: {also[0]}); "
            "leave them out"
        )
    folds = (parts != TUNE).astype(int)
    return material.only(set(folds.index)), folds, settings.model_copy(update={"folds": 2, "fold": 0})


def _split(necks: Sequence[NeckFiles], settings: LevelTrainSettings) -> "pd.Series[int]":
    """Return each study's fold, by patient and balanced over all targets."""
    index = pd.Index([neck.study for neck in necks])
    labels = pd.DataFrame([neck.truth for neck in necks], index=index, columns=list(TARGETS))
    patients = pd.Series([neck.patient for neck in necks], index=index)
    parts = {str(number): 1.0 / settings.folds for number in range(settings.folds)}
    return split_patients(labels, patients, parts, seed=settings.seed).astype(int)
