"""A level network from a compiled data set: folds, training, calibration, export."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from lightning_fabric import Fabric
from pydantic import Field
from torch import nn
from torch.utils.data import DataLoader

from cspine import __version__
from cspine.anatomy import CHALLENGE_POSITIVES, CHALLENGE_STUDIES, OVERALL, RESEARCH_USE_ONLY, TARGETS
from cspine.detect.card import LevelsCard, OperatingPoint
from cspine.errors import LabelError
from cspine.evaluate.calibrate import fit_calibration
from cspine.evaluate.calibration import calibrate_necks
from cspine.evaluate.kaggle import best_constants, unweighted
from cspine.evaluate.points import choose_points
from cspine.evaluate.split import split_patients
from cspine.files import write_text
from cspine.learn.curves import draw_curves
from cspine.learn.export import Graph, export_onnx
from cspine.learn.fit import FitSettings, Fitted, claim_run, fit, open_fabric
from cspine.learn.level_data import LevelData, NeckFiles, kinds_of, list_necks
from cspine.learn.level_lesson import LevelLesson
from cspine.learn.level_network import LEVELS, LevelNetwork, LevelOutputs
from cspine.learn.loop import SPLIT_FILE, WEIGHTS_FILE
from cspine.progress import Progress, silent
from cspine.reformat.level_views import CHANNELS, LevelViewSettings
from cspine.reformat.store import CompiledStore
from cspine.settings import digest

PREDICTIONS_FILE: Final = "out-of-fold.csv"
"""What was said of patients by networks that were not trained on them."""

PREVALENCE: Final = CHALLENGE_POSITIVES[OVERALL] / CHALLENGE_STUDIES

_POSITIVE_WEIGHT: Final = 2.0


class LevelTrainSettings(FitSettings):
    """How a level network is trained."""

    model: str = Field("levels", pattern="^levels$", description="Which network.")
    epochs: int = Field(14, ge=1, le=10_000, description="Passes over the training necks.")
    batch: int = Field(8, ge=2, le=4096, description="Necks per step and process.")
    learning_rate: float = Field(1.5e-3, gt=0.0, le=1.0, description="AdamW's highest step size.")
    weight_decay: float = Field(0.02, ge=0.0, le=1.0, description="AdamW's decay.")
    views: tuple[int, int, int] = Field(
        (3, 3, 3), description="Sagittal, coronal and axial views of each vertebra: in training drawn anew each time."
    )
    folds: int = Field(5, ge=2, le=50, description="Parts that patients are split into.")
    fold: int | None = Field(
        0,
        ge=0,
        description="The part that is not trained on but calibrated; all in turn where null.",
    )
    prevalence: float = Field(PREVALENCE, gt=0.0, lt=1.0, description="Fraction of fractured patients calibrated for.")


@dataclass(frozen=True)
class LevelSummary:
    """How a run ended, of several folds the last one's; the loss is the challenge's, on the held-out patients.

    Attributes
    ----------
    weights : tuple of Path
        One file for each fold that was trained.
    """

    epochs: int
    best_epoch: int
    best_loss: float
    resumed_from: int
    weights: tuple[Path, ...]


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
    progress : Progress
        Told how many epochs are done.

    Returns
    -------
    LevelSummary or None
        None in all of torchrun's processes but the first, which alone writes.

    Raises
    ------
    LabelError
        There are too few labelled necks.
    OutputTakenError
        `out` holds something else, or a run with other settings or data.
    DiskFullError, OutputError
        `out` cannot be written.
    """
    if settings.fold is not None and settings.fold >= settings.folds:
        raise LabelError(
            f"fold {settings.fold} is none of {settings.folds}, which are counted from 0; name a lower one"
        )
    _views_of(store)
    necks = list_necks(store)
    split = _split(necks, settings)
    data_hash = digest([store.settings.hash, store.localizer_sha256, *[[neck.study, *neck.truth] for neck in necks]])
    identity = {"format": 2, "kind": "levels run", "settings": settings.model_dump(mode="json"), "data": data_hash[:16]}
    fabric = open_fabric(settings)
    claim_run(fabric, out, identity)
    parts = []
    for number in range(settings.folds) if settings.fold is None else (settings.fold,):
        held = set(split.index[split == number])
        where = out if settings.fold is not None else out / f"fold-{number}"
        part = _train_fold(fabric, store, necks, held, where, settings, progress)
        if part is not None:
            parts.append(part)
    if not parts:
        return None
    write_text(out / SPLIT_FILE, split.rename("fold").rename_axis("StudyInstanceUID").to_csv())
    return _finish(store, out, settings, parts, necks, data_hash[:16])


def _train_fold(
    fabric: Fabric,
    store: CompiledStore,
    necks: Sequence[NeckFiles],
    held: set[str],
    out: Path,
    settings: LevelTrainSettings,
    progress: Progress,
) -> _Part | None:
    """Train on all necks but those that are held out."""
    train = [neck for neck in necks if neck.study not in held]
    tune = [neck for neck in necks if neck.study in held]
    if len(train) < settings.batch * fabric.world_size or not tune:
        raise LabelError(f"{store.folder}: {len(necks)} necks are too few for {settings.folds} folds; compile more")
    views, kinds = _views_of(store), kinds_of(necks)
    lesson = LevelLesson(train, tune, views, kinds, settings.views, settings)
    fitted = fit(fabric, lambda: LevelNetwork(len(kinds)), lesson, out, settings, progress=progress)
    if fitted is None:
        return None
    draw_curves(out, fitted.curve, title=f"levels, seed {settings.seed}", phantom=store.is_phantom)
    return _Part(fitted, train, predict_necks(fitted.network, tune, views, settings.views))


def _views_of(store: CompiledStore) -> LevelViewSettings:
    """Return how a store's views were made; raises LabelError where there are none."""
    if store.settings.levels is None:
        raise LabelError(f"{store.folder}: was compiled without vertebrae's own images; compile it without --straight")
    return store.settings.levels


def _finish(
    store: CompiledStore,
    out: Path,
    settings: LevelTrainSettings,
    parts: Sequence[_Part],
    necks: Sequence[NeckFiles],
    data_hash: str,
) -> LevelSummary:
    """Calibrate on what no network was trained on, and export."""
    views = _views_of(store)
    raw = pd.concat([part.raw for part in parts])
    write_text(out / PREDICTIONS_FILE, raw.to_csv())
    known = {neck.study: neck for neck in necks}
    calibrated = _calibrated(raw, [known[str(study)] for study in raw.index], settings.prevalence)
    who = "phantom necks (no patient)" if store.is_phantom else "patients"
    which = f"all {settings.folds} folds" if settings.fold is None else f"fold {settings.fold} of {settings.folds}"
    held = f"{len(raw)} {who} held out of training ({which})"
    files = []
    for number, part in enumerate(parts):
        trained = np.array([neck.truth for neck in part.train])
        card = LevelsCard(
            trained_on=f"{len(part.train)} {who}, seed {settings.seed}, epoch {part.fitted.best_epoch}",
            phantom_only=store.is_phantom,
            software=__version__,
            sagittal=store.settings.sagittal,
            views=views,
            seen=settings.views,
            kinds=kinds_of(necks),
            localizer_sha256=store.localizer_sha256 or "",
            positive_weight=_POSITIVE_WEIGHT,
            prevalence=tuple(trained.mean(axis=0).tolist()),
            best_constants=tuple(best_constants(trained).tolist()),
            calibrated_for=settings.prevalence,
            calibrated_on=held,
            **calibrated,
            training=settings.model_dump(mode="json"),
            settings_hash=digest([settings.hash, store.settings.hash])[:16],
            data_hash=data_hash,
            statement=RESEARCH_USE_ONLY,
        )
        files.append(out / (WEIGHTS_FILE if len(parts) == 1 else f"weights-{number}.onnx"))
        export_onnx(level_graph(part.fitted.network, views, settings.views), card, files[-1])
    last = parts[-1].fitted
    least = min(row["tune_loss"] for row in last.curve)
    return LevelSummary(len(last.curve), last.best_epoch, least, last.resumed_from, tuple(files))


def _split(necks: Sequence[NeckFiles], settings: LevelTrainSettings) -> "pd.Series[int]":
    """Return each study's fold, by patient and balanced over all targets."""
    index = pd.Index([neck.study for neck in necks])
    labels = pd.DataFrame([neck.truth for neck in necks], index=index, columns=list(TARGETS))
    patients = pd.Series([neck.patient for neck in necks], index=index)
    parts = {str(number): 1.0 / settings.folds for number in range(settings.folds)}
    return split_patients(labels, patients, parts, seed=settings.seed).astype(int)


@torch.no_grad()
def predict_necks(
    network: nn.Module, necks: Sequence[NeckFiles], views: LevelViewSettings, seen: tuple[int, int, int]
) -> pd.DataFrame:
    """Return plain probabilities, (necks, `TARGETS`), indexed by study; NaN where a vertebra was not found."""
    network = network.eval().cpu()
    rows = {}
    loader = DataLoader(LevelData(necks, views, (), seen, None), batch_size=4)
    for number, batch in enumerate(loader):
        outputs: LevelOutputs = network(batch["images"], batch["planes"], batch["offsets"], batch["present"])
        said = torch.sigmoid(torch.cat([outputs.overall[:, None], outputs.levels], dim=1)).double().numpy()
        there = np.c_[np.ones(len(said), bool), batch["present"].numpy()]
        for place, row in enumerate(np.where(there, unweighted(said, positive_weight=_POSITIVE_WEIGHT), np.nan)):
            rows[necks[4 * number + place].study] = row
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(TARGETS)).rename_axis("StudyInstanceUID")


def _calibrated(raw: pd.DataFrame, necks: Sequence[NeckFiles], prevalence: float) -> dict[str, Any]:
    """Return both calibrations and the operating points, fitted on patients that the network has not learnt from."""
    truth, said = np.array([neck.truth for neck in necks]), raw.to_numpy(np.float64)
    patients = np.array([neck.patient for neck in necks])
    share = float(truth[:, 0].mean())
    broken, whole = prevalence / max(share, 1e-9), (1 - prevalence) / max(1 - share, 1e-9)
    weight = np.where(truth[:, 0] > 0, broken, whole)
    there = ~np.isnan(said[:, 1:])
    rows = np.nonzero(there)[0]
    level_truth, level_said = truth[:, 1:][there], said[:, 1:][there]
    overall = fit_calibration(truth[:, 0], said[:, 0], patients, weight)
    level = fit_calibration(level_truth, level_said, patients[rows], weight[rows])
    of_levels, of_patients = calibrate_necks(level, overall, said[:, 1:], said[:, 0])
    absent = np.broadcast_to(weight[:, None], there.shape)[~there]
    return {
        "calibration_level": level,
        "calibration_overall": overall,
        "absent_chance": (float(truth[:, 1:][~there] @ absent) + 0.5) / (float(absent.sum()) + 10.0),
        "points_level": _points(level_truth, of_levels[there], weight[rows]),
        "points_overall": _points(truth[:, 0], of_patients, weight),
    }


def _points(
    truth: npt.NDArray[np.int64], probability: npt.NDArray[np.float64], weight: npt.NDArray[np.float64]
) -> tuple[OperatingPoint, ...]:
    return tuple(OperatingPoint(**vars(point)) for point in choose_points(truth, probability, weight))


class _Answer(nn.Module):
    """The network with its logits as chances."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, views: torch.Tensor, planes: torch.Tensor, offsets: torch.Tensor, present: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        found: LevelOutputs = self.network(views, planes, offsets, present)
        chances = (found.levels, found.overall, found.kinds, found.evidence)
        levels, overall, kinds, evidence = (torch.sigmoid(values) for values in chances)
        return levels, overall, kinds, evidence


def level_graph(network: nn.Module, views: LevelViewSettings, seen: tuple[int, int, int]) -> Graph:
    """Return the network as it is exported: any number of necks, any number of views."""
    count, side = sum(seen), views.pixels
    chance = torch.Generator().manual_seed(0)
    example = (
        torch.rand(2, LEVELS, count, CHANNELS, side, side, generator=chance),
        torch.zeros(2, count, dtype=torch.int64),
        torch.zeros(2, count),
        torch.ones(2, LEVELS, dtype=torch.bool),
    )
    necks, several = torch.export.Dim("necks", min=1, max=64), torch.export.Dim("views", min=1, max=128)
    vary: tuple[dict[int, Any], ...] = (
        {0: necks, 2: several},
        {0: necks, 1: several},
        {0: necks, 1: several},
        {0: necks},
    )
    inputs, outputs = ("views", "planes", "offsets", "present"), ("levels", "overall", "kinds", "evidence")
    return Graph(_Answer(network), example, inputs, outputs, vary)
