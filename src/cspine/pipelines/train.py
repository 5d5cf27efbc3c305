"""Training of each network from the options of ``cspine train``; needs the training extra."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from cspine.core.errors import InputError
from cspine.core.parallel import default_workers
from cspine.core.progress import Progress
from cspine.core.run_files import WEIGHTS_FILE
from cspine.datasets.compiled import CompiledDataset
from cspine.datasets.locked_split import read_split
from cspine.dicom.study_collection import PHANTOM_MARKER
from cspine.training.baseline.settings import BaselineTrainSettings
from cspine.training.baseline.train import train_baseline
from cspine.training.levels.settings import LevelTrainSettings
from cspine.training.levels.train import train_levels
from cspine.training.localizer.examples import write_phantom_set, write_segmented_set
from cspine.training.localizer.train import train_localizer
from cspine.training.settings import TrainerSettings
from cspine.training.trainer import open_fabric

_PHANTOM_SEED: Final = 7_000
_PHANTOMS: Final = 600
"""Phantoms that a localizer is trained on: unlike segmentations, they tell the orientation of vertebrae."""

Run = Callable[[Path, Path, dict[str, Any], Progress], dict[str, Any] | None]


def _levels(data: Path, out: Path, options: dict[str, Any], progress: Progress) -> dict[str, Any] | None:
    auxiliary, init_weights, split = (options.pop(name, None) for name in ("auxiliary_data", "init_weights", "split"))
    summary = train_levels(
        CompiledDataset.open(data),
        out,
        _settings(LevelTrainSettings, options),
        auxiliary_data=CompiledDataset.open(auxiliary) if auxiliary else None,
        init_weights=init_weights,
        split=read_split(split) if split else None,
        progress=progress,
    )
    return {**vars(summary), "weights": [str(path) for path in summary.weights]} if summary else None


def _localizer(data: Path, out: Path, options: dict[str, Any], progress: Progress) -> dict[str, Any] | None:
    phantoms = options.pop("phantoms", _PHANTOMS)
    settings, workers = _settings(TrainerSettings, options), default_workers()
    fabric = open_fabric(settings)
    with fabric.rank_zero_first():  # one of torchrun's processes makes the samples that all train on
        segmented = write_segmented_set(out / "coarse", data, workers=workers, progress=progress)
        seed = settings.seed + _PHANTOM_SEED
        drawn = write_phantom_set(out / "phantoms", studies=phantoms, seed=seed, workers=workers, progress=progress)
    phantom, run = (data / PHANTOM_MARKER).is_file(), out / "run"
    result = train_localizer([*segmented, *drawn], run, settings, phantom=phantom, fabric=fabric, progress=progress)
    if result is None:
        return None
    return {
        "epochs": len(result.curve),
        "best_epoch": result.best_epoch,
        "best_loss": result.best_loss,
        "resumed_from": result.resumed_from,
        "weights": [str(run / WEIGHTS_FILE)],
    }


def _baseline(data: Path, out: Path, options: dict[str, Any], progress: Progress) -> dict[str, Any] | None:
    split = options.pop("split", None)
    locked, settings = read_split(split) if split else None, _settings(BaselineTrainSettings, options)
    summary = train_baseline(CompiledDataset.open(data), out, settings, split=locked, progress=progress)
    return {**vars(summary), "weights": [str(summary.weights)]} if summary else None


def _settings(settings: type[Any], options: dict[str, Any]) -> Any:  # noqa: ANN401 - an instance of the class given
    try:
        return settings.model_validate(options)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).replace("_", "-")
        what = "is no option of this network" if first["type"] == "extra_forbidden" else first["msg"]
        raise InputError(f"--{name}: {what}; see cspine train --help") from error


RUNS: Final[dict[str, Run]] = {"levels": _levels, "localizer": _localizer, "baseline-cnn": _baseline}
