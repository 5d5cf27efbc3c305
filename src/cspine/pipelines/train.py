"""Train: a network from a compiled data set, or a localizer from segmented studies; needs the extra ``train``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from cspine.core.errors import InputError
from cspine.core.networks import NetworkName
from cspine.core.processors import default_workers
from cspine.core.progress import Progress, silent
from cspine.core.run_files import WEIGHTS_FILE
from cspine.core.storage.locations import as_path
from cspine.datasets.compiled import CompiledDataset
from cspine.datasets.locked_split import read_split
from cspine.dicom.study_collection import PHANTOM_MARKER
from cspine.phantom.body.settings import BODY_DOMAINS
from cspine.training.baseline.settings import BaselineTrainSettings
from cspine.training.baseline.train import train_baseline
from cspine.training.devices import open_fabric
from cspine.training.levels.settings import LevelTrainSettings
from cspine.training.levels.train import train_levels
from cspine.training.localizer.examples import write_phantom_set, write_segmented_set
from cspine.training.localizer.train import LocalizerSamples, train_localizer
from cspine.training.preemption import signals_caught
from cspine.training.settings import TrainerSettings
from cspine.training.summary import TrainingSummary

_PHANTOM_SEED: Final = 7_000
_N_PHANTOMS: Final = 600
"""Body phantoms that a localizer is trained on beside segmented studies: few are segmented, and of necks only."""


def train_network(
    network: NetworkName,
    data: str | Path | CompiledDataset,
    out: str | Path,
    *,
    progress: Progress = silent,
    **options: Any,  # noqa: ANN401 - the fields of the network's settings
) -> TrainingSummary | None:
    """Train a network and export it as ONNX; an interrupted run is resumed by the same call.

    Parameters
    ----------
    network : {'levels', 'localizer', 'baseline-cnn'}
        Network to train; the type of `data` depends on it.
    data : str, Path or CompiledDataset
        A compiled data set; of a localizer, the challenge's folder with ``train_images`` and ``segmentations``.
    out : str or Path
        The run's folder: checkpoint, learning curves, split, and in the end ``weights.onnx``.
    progress : Progress
        Called with the number of epochs or steps done.
    **options
        Fields of the network's settings, such as ``epochs=2`` (`LevelTrainSettings`, `TrainerSettings`,
        `BaselineTrainSettings`); in addition ``split``, a file of `cspine split` whose parts train and validation are
        used; of levels ``auxiliary_data`` (folders) and ``init_weights``; of a localizer ``phantoms``, their number.

    Returns
    -------
    TrainingSummary or None
        None in the processes of torchrun other than the first.

    Raises
    ------
    InputError
        The network has no such option.
    LabelError
        There are too few labeled studies, or the split does not contain them.
    SourceError
        `data` is not what the network is trained on.
    OutputTakenError
        `out` holds something else, or a run with other settings or data.
    PreemptedError
        SIGTERM or SIGUSR1 arrived before the last stage was trained; the same call continues.
    DiskFullError, OutputError
        `out` cannot be written.
    """
    source = data if isinstance(data, CompiledDataset) else as_path(data)
    with signals_caught():  # one request for all stages: `fit` looks at it, too
        return _RUNNERS[network](source, as_path(out), dict(options), progress)


def _train_levels(
    data: Path | CompiledDataset, out: Path, options: dict[str, Any], progress: Progress
) -> TrainingSummary | None:
    auxiliary, init_weights, split = (options.pop(name, None) for name in ("auxiliary_data", "init_weights", "split"))
    settings = _settings(LevelTrainSettings, options)
    return train_levels(
        _open(data),
        out,
        settings,
        auxiliary_data=[CompiledDataset.open(as_path(folder)) for folder in auxiliary or ()],
        init_weights=init_weights,
        split=read_split(as_path(split)) if split else None,
        progress=progress,
    )


def _train_localizer(
    data: Path | CompiledDataset, out: Path, options: dict[str, Any], progress: Progress
) -> TrainingSummary | None:
    if isinstance(data, CompiledDataset):
        raise InputError(f"{data.folder}: is compiled; a localizer is trained on a folder with segmentations")
    n_phantoms = options.pop("phantoms", _N_PHANTOMS)
    settings = _settings(TrainerSettings, options)
    fabric = open_fabric(settings)
    with fabric.rank_zero_first():  # one of torchrun's processes makes the samples that all train on
        coarse, fine = (
            _write_localizer_samples(data, out, n_phantoms, settings.seed + _PHANTOM_SEED, is_fine, progress)
            for is_fine in (False, True)
        )
    samples, run = LocalizerSamples(coarse, fine, is_phantom=(data / PHANTOM_MARKER).is_file()), out / "run"
    result = train_localizer(samples, run, settings, fabric=fabric, progress=progress)
    if result is None:
        return None
    epochs = len(result.curve)
    return TrainingSummary(epochs, result.best_epoch, result.best_loss, result.resumed_from, (run / WEIGHTS_FILE,))


def _write_localizer_samples(
    data: Path, out: Path, n_phantoms: int, seed: int, is_fine: bool, progress: Progress
) -> list[Path]:
    """Write samples of segmented studies and of phantoms, and return their files."""
    folder, workers = out / ("fine" if is_fine else "coarse"), default_workers()
    segmented = write_segmented_set(folder / "studies", data, is_fine=is_fine, workers=workers, progress=progress)
    phantoms = write_phantom_set(
        folder / "phantoms",
        studies=n_phantoms,
        seed=seed,
        settings=BODY_DOMAINS["source"],
        is_fine=is_fine,
        workers=workers,
        progress=progress,
    )
    return [*segmented, *phantoms]


def _train_baseline(
    data: Path | CompiledDataset, out: Path, options: dict[str, Any], progress: Progress
) -> TrainingSummary | None:
    split = options.pop("split", None)
    settings = _settings(BaselineTrainSettings, options)
    locked = read_split(as_path(split)) if split else None
    return train_baseline(_open(data), out, settings, split=locked, progress=progress)


def _open(data: Path | CompiledDataset) -> CompiledDataset:
    return data if isinstance(data, CompiledDataset) else CompiledDataset.open(data)


def _settings(settings: type[Any], options: dict[str, Any]) -> Any:  # noqa: ANN401 - an instance of the class given
    """Validate options as the settings of a network; raises InputError with the first wrong one."""
    try:
        return settings.model_validate(options)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).replace("_", "-")
        fact = "is no option of this network" if first["type"] == "extra_forbidden" else first["msg"]
        raise InputError(f"--{name}: {fact}; see cspine train --help") from error


_Runner = Callable[[Path | CompiledDataset, Path, dict[str, Any], Progress], TrainingSummary | None]

_RUNNERS: Final[dict[str, _Runner]] = {
    "levels": _train_levels,
    "localizer": _train_localizer,
    "baseline-cnn": _train_baseline,
}
