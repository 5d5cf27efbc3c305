"""Training of the localizer: from samples to ONNX weights with its three networks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from cspine import __version__
from cspine.core.anatomy import RESEARCH_USE_ONLY
from cspine.core.errors import LabelError
from cspine.core.files import read_json
from cspine.core.progress import Progress, silent
from cspine.core.run_files import WEIGHTS_FILE
from cspine.core.settings import digest
from cspine.core.typing import Floats
from cspine.localization.cascade.crops import CROP_SHAPE
from cspine.localization.cascade.networks import INPUTS, OUTPUTS
from cspine.localization.cascade.region import SIDE_MULTIPLE
from cspine.localization.cascade.vertebrae import VERTEBRA_CLASSES
from cspine.models.metadata import COARSE_MM, LocalizerMetadata
from cspine.spine.level_settings import LevelAssignmentSettings
from cspine.spine.occupancy_template import OccupancyTemplate, mean_occupancy_template
from cspine.training.curves import draw_curves
from cspine.training.devices import open_fabric
from cspine.training.export import Graph, export_onnx
from cspine.training.localizer.examples import FRAMED_LEVELS, LocalizerSample
from cspine.training.localizer.examples import MARKER as SET_MARKER
from cspine.training.localizer.networks import NETWORKS, NetworkName
from cspine.training.settings import TrainerSettings
from cspine.training.trainer import TrainingResult, fit, open_run

_VALIDATION_STRIDE: Final = 12
"""Every twelfth sample goes to the validation set."""

_MAX_TEMPLATE_SAMPLES: Final = 300
"""Samples with known frames over which occupancy templates are averaged."""

_MAX_SIDE_MULTIPLE: Final = 128
"""Longest side of the exported networks' inputs, in units of `SIDE_MULTIPLE`."""

_MAX_CROPS: Final = 256


@dataclass(frozen=True)
class LocalizerSamples:
    """Files of `cspine.training.localizer.examples.LocalizerSample`, one per patient.

    Attributes
    ----------
    coarse : sequence of Path
        At 3 mm, for the region network and the vertebra network.
    fine : sequence of Path
        At about 1.5 mm, for the frame network.
    is_phantom : bool
        Whether all of them are phantoms.
    """

    coarse: Sequence[Path]
    fine: Sequence[Path]
    is_phantom: bool


def _class_probabilities(logits: torch.Tensor) -> torch.Tensor:
    """Return the softmax over classes, (n, classes, k, j, i).

    Voxels are one axis meanwhile: ONNX Runtime moves the classes of each next to each other and back, and does so with
    five axes more slowly than all convolutions of the vertebra network together.
    """
    by_voxel = logits.flatten(2).transpose(1, 2)
    return torch.softmax(by_voxel, dim=2).transpose(1, 2).reshape(logits.shape)


class _Localizer(nn.Module):
    """The three networks side by side, with the softmax of their classes."""

    def __init__(self, networks: Mapping[NetworkName, nn.Module]) -> None:
        super().__init__()
        self.region, self.vertebrae, self.frames = (networks[name] for name in NETWORKS)

    def forward(self, region: torch.Tensor, image: torch.Tensor, crops: torch.Tensor) -> tuple[torch.Tensor, ...]:
        vertebrae, (levels, voxels) = self.vertebrae(image), self.frames(crops)
        n_classes = len(VERTEBRA_CLASSES)
        return (
            _class_probabilities(self.region(region)),
            _class_probabilities(vertebrae[:, :n_classes]),
            vertebrae[:, n_classes:],
            torch.softmax(levels, dim=1),
            torch.cat([torch.sigmoid(voxels[:, :1]), voxels[:, 1:]], dim=1),
        )


def train_localizer(
    samples: LocalizerSamples,
    out: Path,
    settings: TrainerSettings,
    *,
    fabric: Fabric | None = None,
    progress: Progress = silent,
) -> TrainingResult[nn.Module] | None:
    """Train the localizer's networks one after the other and export them to ``weights.onnx``.

    An interrupted run is resumed after the last epoch of the network that was being trained.

    Parameters
    ----------
    samples : LocalizerSamples
        What they are trained on; every twelfth sample goes to the validation set.
    out : Path
        Folder of the run; each network has a folder of its own there, with its checkpoint and learning curves.
    settings : TrainerSettings
        Hyperparameters of optimization, batches and data.
    fabric : Fabric, optional
        Devices, if `cspine.training.devices.open_fabric` was called before.
    progress
        As of `cspine.training.trainer.fit`.

    Returns
    -------
    TrainingResult or None
        Of the vertebra network; as of `cspine.training.trainer.fit`.

    Raises
    ------
    LabelError
        There are too few samples.
    OutputTakenError
        `out` holds something else, or a run with other settings or samples.
    InputError, DiskFullError, OutputError
        As by `cspine.training.trainer.fit`.
    """
    fabric = fabric or open_fabric(settings)
    data_hash = digest([_origin(path) for path in (*samples.coarse, *samples.fine)])[:16]
    identity = {"format": 3, "kind": "localizer run", "settings": settings.model_dump(mode="json"), "data": data_hash}
    open_run(fabric, out, identity)
    results = _fit_networks(samples, out, settings, fabric, progress)
    if not results:
        return None
    population = "phantom cases (no patient)" if samples.is_phantom else "cases, phantoms among them"
    epochs = ", ".join(str(result.best_epoch) for result in results.values())
    metadata = LocalizerMetadata(
        trained_on=f"{len(samples.coarse)} {population}, seed {settings.seed}, epochs {epochs}",
        phantom_only=samples.is_phantom,
        software=__version__,
        training=settings.model_dump(mode="json"),
        settings_hash=settings.hash,
        data_hash=data_hash,
        statement=RESEARCH_USE_ONLY,
        occupancy_templates=occupancy_templates(samples.coarse),
        level_assignment=LevelAssignmentSettings(),
    )
    export_localizer({name: result.network for name, result in results.items()}, metadata, out / WEIGHTS_FILE)
    return results["vertebrae"]


def _fit_networks(
    samples: LocalizerSamples, out: Path, settings: TrainerSettings, fabric: Fabric, progress: Progress
) -> dict[NetworkName, TrainingResult[nn.Module]]:
    """Train each network in a folder of its own; return nothing in processes of torchrun other than the first."""
    results: dict[NetworkName, TrainingResult[nn.Module]] = {}
    for name, recipe in NETWORKS.items():
        files = samples.fine if recipe.is_fine else samples.coarse
        train, validation = split_samples(files, settings.batch_size * fabric.world_size)
        task, run = recipe.task(train, validation, settings), out / name
        result = fit(fabric, recipe.build, task, run, settings, stage=f"{name} steps", progress=progress)
        if result is not None:
            title = f"localizer, {name}, seed {settings.seed}"
            draw_curves(run, result.curve, title=title, is_phantom=samples.is_phantom)
            results[name] = result
    return results


def split_samples(files: Sequence[Path], n_least: int) -> tuple[list[Path], list[Path]]:
    """Return the files of the training set and of the validation set.

    Raises
    ------
    LabelError
        There are fewer than `n_least` files for training.
    """
    validation = list(files[::_VALIDATION_STRIDE])
    train = [path for number, path in enumerate(files) if number % _VALIDATION_STRIDE]
    if len(train) < n_least:
        raise LabelError(
            f"{len(files)} samples are too few for a batch of {n_least} and a validation set; give more studies"
        )
    return train, validation


def _origin(path: Path) -> list[Any]:
    """Return what identifies a sample: its name, and how its set was made."""
    marker = path.parent / SET_MARKER
    return [path.name, read_json(marker) if marker.is_file() else None]


def occupancy_templates(samples: Sequence[Path]) -> dict[str, OccupancyTemplate]:
    """Return the mean occupancy of each level's frame, over complete vertebrae whose frame is known.

    Parameters
    ----------
    samples : sequence of Path
        Files that hold one `LocalizerSample` each.

    Returns
    -------
    dict of str to OccupancyTemplate
        Levels whose frame is known in no sample are missing.
    """
    positions: dict[str, list[Floats]] = {}
    known = (sample for path in samples if np.isfinite((sample := LocalizerSample.load(path)).frames).any())
    for sample in islice(known, _MAX_TEMPLATE_SAMPLES):
        for number, (level, frame) in enumerate(zip(FRAMED_LEVELS, sample.frames, strict=True), start=1):
            index = np.argwhere(sample.labels == number)
            last = np.array(sample.labels.shape) - 1
            if not len(index) or not np.isfinite(frame).all() or np.any((index == 0) | (index == last)):
                continue  # a vertebra at the border of the volume may be cut off
            inverse = np.linalg.inv(frame)
            lps = sample.origin_lps_mm + COARSE_MM * index[:, ::-1]
            positions.setdefault(level, []).append(lps @ inverse[:3, :3].T + inverse[:3, 3])
    return {level: mean_occupancy_template(vertebrae, COARSE_MM**3) for level, vertebrae in positions.items()}


def export_localizer(networks: Mapping[NetworkName, nn.Module], metadata: LocalizerMetadata, path: Path) -> None:
    """Write the three networks as one ONNX file; arguments and errors as of `cspine.training.export.export_onnx`."""
    generator, side = torch.Generator().manual_seed(0), 2 * SIDE_MULTIPLE
    shapes = ((1, 2, side, side, side), (1, 2, side, side, side), (2, 2, *CROP_SHAPE))
    region, image, crops = (torch.rand(*shape, generator=generator) * 2 - 1 for shape in shapes)
    axes: tuple[dict[int, Any], ...] = (
        _volume_axes("region"),
        _volume_axes("image"),
        {0: torch.export.Dim("crops", min=1, max=_MAX_CROPS)},
    )
    graph = Graph(_Localizer(networks), (region, image, crops), INPUTS, OUTPUTS, axes)
    export_onnx(graph, metadata, path)


def _volume_axes(name: str) -> dict[int, Any]:
    return {
        2 + axis: SIDE_MULTIPLE * torch.export.Dim(f"{name}_{letter}", min=1, max=_MAX_SIDE_MULTIPLE)
        for axis, letter in enumerate("kji")
    }
