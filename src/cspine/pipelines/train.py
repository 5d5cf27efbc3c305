"""What ``cspine train`` runs for each network; imports what the training extra brings."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from cspine.core.errors import InputError
from cspine.core.parallel import default_workers
from cspine.core.progress import Progress
from cspine.datasets.compiled import CompiledDataset
from cspine.datasets.locked_split import read_split
from cspine.dicom.study_collection import PHANTOM_MARKER
from cspine.training.baseline.settings import TrainSettings
from cspine.training.baseline.train import train
from cspine.training.levels.settings import LevelTrainSettings
from cspine.training.levels.train import train_levels
from cspine.training.localizer.examples import write_phantom_set, write_segmented_set
from cspine.training.localizer.train import train_localizer
from cspine.training.trainer import VAL_LOSS, TrainerSettings, open_fabric

_PHANTOM_SEED: Final = 7_000
_PHANTOMS: Final = 600
"""A localizer learns from so many: segmentations do not tell how vertebrae are turned, phantoms do."""

Run = Callable[[Path, Path, dict[str, Any], Progress], dict[str, Any] | None]


def _levels(data: Path, out: Path, given: dict[str, Any], progress: Progress) -> dict[str, Any] | None:
    further, start, split = (given.pop(name, None) for name in ("auxiliary_data", "init_weights", "split"))
    settings = _settings(LevelTrainSettings, given)
    more = CompiledDataset.open(further) if further else None
    frozen = read_split(split) if split else None
    summary = train_levels(
        CompiledDataset.open(data), out, settings, further=more, start=start, frozen=frozen, progress=progress
    )
    return {**vars(summary), "weights": [str(path) for path in summary.weights]} if summary else None


def _localizer(data: Path, out: Path, given: dict[str, Any], progress: Progress) -> dict[str, Any] | None:
    phantoms = given.pop("phantoms", _PHANTOMS)
    settings, workers = _settings(TrainerSettings, given), default_workers()
    fabric = open_fabric(settings)
    with fabric.rank_zero_first():  # of torchrun's processes one makes what all learn from
        files = write_segmented_set(out / "coarse", data, workers=workers, progress=progress)
        seed = settings.seed + _PHANTOM_SEED
        drawn = write_phantom_set(out / "phantoms", studies=phantoms, seed=seed, workers=workers, progress=progress)
    phantom = (data / PHANTOM_MARKER).is_file()
    fitted = train_localizer([*files, *drawn], out / "run", settings, phantom=phantom, fabric=fabric, progress=progress)
    if fitted is None:
        return None
    return {
        "epochs": len(fitted.curve),
        "best_epoch": fitted.best_epoch,
        "best_loss": min(row[VAL_LOSS] for row in fitted.curve),
        "resumed_from": fitted.resumed_from,
        "weights": [str(out / "run" / "weights.onnx")],
    }


def _baseline(data: Path, out: Path, given: dict[str, Any], progress: Progress) -> dict[str, Any]:
    split = given.pop("split", None)
    frozen, settings = read_split(split) if split else None, _settings(TrainSettings, given)
    summary = train(CompiledDataset.open(data), out, settings, frozen=frozen, progress=progress)
    return {**vars(summary), "weights": [str(summary.weights)]}


def _settings(kind: type[Any], given: dict[str, Any]) -> Any:  # noqa: ANN401 - a Settings of the kind asked for
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).replace("_", "-")
        what = "is no option of this network" if first["type"] == "extra_forbidden" else first["msg"]
        raise InputError(f"--{name}: {what}; see cspine train --help") from error


RUNS: Final[dict[str, Run]] = {"levels": _levels, "localizer": _localizer, "baseline-cnn": _baseline}
