"""Training of the localizer: from coarse volumes to ONNX weights."""

from collections.abc import Sequence
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
from cspine.localization.tiles import SIDE_MULTIPLE
from cspine.models.metadata import COARSE_MM, LocalizerMetadata
from cspine.spine.occupancy_template import OccupancyTemplate, mean_occupancy_template
from cspine.training.curves import draw_curves
from cspine.training.export import Graph, export_onnx
from cspine.training.localizer.examples import FRAMED_LEVELS, LocalizerSample
from cspine.training.localizer.examples import MARKER as SET_MARKER
from cspine.training.localizer.patch_sampler import N_CLASSES
from cspine.training.localizer.task import LocalizerTask, build_localizer
from cspine.training.settings import TrainerSettings
from cspine.training.trainer import TrainingResult, fit, open_fabric, open_run

_VALIDATION_STRIDE: Final = 12
"""Every twelfth sample goes to the validation set."""

_MAX_TEMPLATE_SAMPLES: Final = 300
"""Samples with known frames over which occupancy templates are averaged."""

_MAX_SIDE_MULTIPLE: Final = 64
"""Longest side of the exported network's input, in units of `SIDE_MULTIPLE`."""


class _ProbabilityNetwork(nn.Module):
    """The network with the softmax of its classes."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        outputs = self.network(image)
        return torch.softmax(outputs[:, :N_CLASSES], dim=1), outputs[:, N_CLASSES:]


def train_localizer(
    samples: Sequence[Path],
    out: Path,
    settings: TrainerSettings,
    *,
    is_phantom: bool,
    fabric: Fabric | None = None,
    progress: Progress = silent,
) -> TrainingResult | None:
    """Train a localizer and export it to ``weights.onnx``; an interrupted run is resumed after its last epoch.

    Parameters
    ----------
    samples : sequence of Path
        Files of `cspine.training.localizer.examples.LocalizerSample`, one per patient; every twelfth goes to the
        validation set.
    out : Path
        Folder of the run, with its checkpoint and learning curves.
    settings : TrainerSettings
        Hyperparameters of optimization, batches and data.
    is_phantom : bool
        Whether all samples are phantoms.
    fabric : Fabric, optional
        Devices, if `cspine.training.trainer.open_fabric` was called before.
    progress
        As of `cspine.training.trainer.fit`.

    Returns
    -------
    TrainingResult or None
        As of `cspine.training.trainer.fit`.

    Raises
    ------
    LabelError
        There are too few samples.
    OutputTakenError
        `out` holds something else, or a run with other settings or samples.
    InputError, DiskFullError, OutputError
        As by `cspine.training.trainer.fit`.
    """
    validation = samples[::_VALIDATION_STRIDE]
    train = [path for number, path in enumerate(samples) if number % _VALIDATION_STRIDE]
    fabric = fabric or open_fabric(settings)
    if len(train) < settings.batch_size * fabric.world_size:
        raise LabelError(
            f"{len(samples)} coarse volumes are too few for a batch of {settings.batch_size} and a validation set; "
            "give more studies"
        )
    data_hash = digest([_origin(path) for path in samples])[:16]
    identity = {"format": 2, "kind": "localizer run", "settings": settings.model_dump(mode="json"), "data": data_hash}
    open_run(fabric, out, identity)
    result = fit(fabric, build_localizer, LocalizerTask(train, validation, settings), out, settings, progress=progress)
    if result is None:
        return None
    draw_curves(out, result.curve, title=f"localizer, seed {settings.seed}", is_phantom=is_phantom)
    population = "phantom cases (no patient)" if is_phantom else "cases, phantoms among them"
    metadata = LocalizerMetadata(
        trained_on=f"{len(train)} {population}, seed {settings.seed}, epoch {result.best_epoch}",
        phantom_only=is_phantom,
        software=__version__,
        training=settings.model_dump(mode="json"),
        settings_hash=settings.hash,
        data_hash=data_hash,
        statement=RESEARCH_USE_ONLY,
        occupancy_templates=occupancy_templates(train),
    )
    export_onnx(_graph(result.network), metadata, out / WEIGHTS_FILE)
    return result


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


def _graph(network: nn.Module) -> Graph:
    side = 2 * SIDE_MULTIPLE
    example = torch.rand(1, 2, side, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1
    axes = {
        2 + axis: SIDE_MULTIPLE * torch.export.Dim(name, min=1, max=_MAX_SIDE_MULTIPLE)
        for axis, name in enumerate(("k", "j", "i"))
    }
    return Graph(_ProbabilityNetwork(network), (example,), ("image",), ("chances", "places"), (axes,))
