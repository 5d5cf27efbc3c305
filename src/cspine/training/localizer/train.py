"""A localiser from coarse volumes: split, trained, exported."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from lightning_fabric import Fabric
from torch import nn

from cspine import __version__
from cspine.core.anatomy import RESEARCH_USE_ONLY
from cspine.core.errors import LabelError
from cspine.core.files import read_json
from cspine.core.progress import Progress, silent
from cspine.core.settings import digest
from cspine.localization.coarse import HALVED
from cspine.models.metadata import COARSE_MM, LocalizerMetadata
from cspine.spine.occupancy_template import OccupancyTemplate, mean_occupancy_template
from cspine.training.baseline.train import WEIGHTS_FILE
from cspine.training.curves import draw_curves
from cspine.training.export import Graph, export_onnx
from cspine.training.localizer.examples import FRAMED, LocalizerSample
from cspine.training.localizer.examples import MARKER as SET_MARKER
from cspine.training.localizer.patch_sampler import CLASSES
from cspine.training.localizer.task import LocalizerTask, build_localizer
from cspine.training.trainer import Fitted, TrainerSettings, claim_run, fit, open_fabric

_HELD_OUT: Final = 12
"""One in so many examples chooses the epoch."""

_SHAPED: Final = 300
"""Examples with frames that mean shapes are taken of."""

_LONGEST: Final = 64
"""Times that, at most, along a side."""


class _Answer(nn.Module):
    """The network with its classes as chances."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        outputs = self.network(image)
        return torch.softmax(outputs[:, :CLASSES], dim=1), outputs[:, CLASSES:]


def train_localizer(
    train_loader: Sequence[Path],
    out: Path,
    settings: TrainerSettings,
    *,
    phantom: bool,
    fabric: Fabric | None = None,
    progress: Progress = silent,
) -> Fitted | None:
    """Train a localiser; ends in ``weights.onnx``, and goes on where an interrupted run stopped.

    Parameters
    ----------
    train_loader : sequence of Path
        Files of `cspine.training.localizer.examples.LocalizerSample`, one per patient; one in twelve is held out.
    out : Path
        The run's folder.
    settings : TrainerSettings
        How it is trained.
    phantom : bool
        Whether the examples are phantoms.
    fabric : Fabric, optional
        Of `cspine.training.trainer.open_fabric`, where it was opened before.
    progress : Progress
        Told how many steps are done, of all epochs.

    Returns
    -------
    Fitted or None
        None in all of torchrun's processes but the first, which alone writes.

    Raises
    ------
    LabelError
        There are too few examples.
    OutputTakenError
        `out` holds something else, or a run with other settings or examples.
    DiskFullError, OutputError
        `out` cannot be written.
    """
    validation = train_loader[::_HELD_OUT]
    train = [path for number, path in enumerate(train_loader) if number % _HELD_OUT]
    fabric = fabric or open_fabric(settings)
    if len(train) < settings.batch_size * fabric.world_size:
        raise LabelError(
            f"{len(train_loader)} coarse volumes are too few to train on {settings.batch_size} at a time and hold some out; "
            "give more studies"
        )
    data_hash = digest([_origin(path) for path in train_loader])[:16]
    identity = {"format": 1, "kind": "localizer run", "settings": settings.model_dump(mode="json"), "data": data_hash}
    claim_run(fabric, out, identity)
    fitted = fit(fabric, build_localizer, LocalizerTask(train, validation, settings), out, settings, progress=progress)
    if fitted is None:
        return None
    draw_curves(out, fitted.curve, title=f"localizer, seed {settings.seed}", phantom=phantom)
    kind = "phantom necks (no patient)" if phantom else "necks, phantoms among them"
    metadata = LocalizerMetadata(
        trained_on=f"{len(train)} {kind}, seed {settings.seed}, epoch {fitted.best_epoch}",
        phantom_only=phantom,
        software=__version__,
        training=settings.model_dump(mode="json"),
        settings_hash=settings.hash,
        data_hash=data_hash,
        statement=RESEARCH_USE_ONLY,
        occupancy_templates=mean_shapes(train),
    )
    export_onnx(_graph(fitted.network), metadata, out / WEIGHTS_FILE)
    return fitted


def _origin(path: Path) -> list[Any]:
    """Return what an example is of: its name, and how its set was made."""
    marker = path.parent / SET_MARKER
    return [path.name, read_json(marker) if marker.is_file() else None]


def mean_shapes(train_loader: Sequence[Path]) -> dict[str, OccupancyTemplate]:
    """Return how vertebrae fill their frames on average, by level; of levels whose frames are nowhere known, nothing.

    Parameters
    ----------
    train_loader : sequence of Path
        Files of `LocalizerSample`.
    """
    found: dict[str, list[npt.NDArray[np.float64]]] = {}
    known = (example for path in train_loader if np.isfinite((example := LocalizerSample.load(path)).frames).any())
    for example in islice(known, _SHAPED):
        for number, (level, frame) in enumerate(zip(FRAMED, example.frames, strict=True), start=1):
            index = np.argwhere(example.labels == number)
            last = np.array(example.labels.shape) - 1
            if not len(index) or not np.isfinite(frame).all() or np.any((index == 0) | (index == last)):
                continue  # what reaches the lattice's border is not whole
            back = np.linalg.inv(frame)
            lps = example.origin_lps_mm + COARSE_MM * index[:, ::-1]
            found.setdefault(level, []).append(lps @ back[:3, :3].T + back[:3, 3])
    return {level: mean_occupancy_template(vertebrae, COARSE_MM**3) for level, vertebrae in found.items()}


def _graph(network: nn.Module) -> Graph:
    side = 2 * HALVED
    example = torch.rand(1, 2, side, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1
    vary = {2 + axis: HALVED * torch.export.Dim(name, min=1, max=_LONGEST) for axis, name in enumerate(("k", "j", "i"))}
    return Graph(_Answer(network), (example,), ("image",), ("chances", "places"), (vary,))
