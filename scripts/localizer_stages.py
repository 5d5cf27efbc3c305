"""Stages in which the localizer's networks are trained, and how one stage is run."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cspine.core.errors import InputError
from cspine.phantom.body.settings import BODY_DOMAINS, BodySettings
from cspine.phantom.disorders.settings import DisorderSettings

if TYPE_CHECKING:
    from cspine.core.progress import Progress
    from cspine.training.localizer.networks import NetworkName

NETWORK_FILE: Final = "network.pt"
NEVER_TRAINED_ON: Final = ("pt_83", "pt_88")
"""Scans of the reference that no shipped network was trained on."""

MAX_VALIDATION: Final = 24
"""Phantoms of the validation set."""

HARD_SCANS: Final = BodySettings(
    kinds={
        "head": 0.12,
        "head to C2": 0.09,
        "head to C3": 0.08,
        "head to C4": 0.07,
        "neck": 0.10,
        "head and neck": 0.10,
        "neck cut above": 0.10,
        "neck cut below": 0.08,
        "C5 and below": 0.08,
        "C3 to C6": 0.08,
        "chest": 0.03,
        "chest from C7": 0.07,
    },
    disorders=DisorderSettings(child=0.3),
)
"""Source phantoms with more of the scans in which vertebrae were missed: children, and those that end in the neck."""


@dataclass(frozen=True)
class BodySample:
    """Body phantoms of the source domain to train on.

    Attributes
    ----------
    seed : int
        Seed of the phantoms.
    studies : int
        How many are drawn.
    is_fine : bool
        Whether they are samples of the frame network.
    is_hard : bool
        Whether they are drawn from `HARD_SCANS`.
    """

    seed: int
    studies: int
    is_fine: bool = False
    is_hard: bool = False

    @property
    def settings(self) -> BodySettings:
        """Distributions that they are drawn from."""
        return HARD_SCANS if self.is_hard else BODY_DOMAINS["source"]

    @property
    def folder(self) -> str:
        """Name of the folder of the samples."""
        return f"{'fine' if self.is_fine else 'coarse'}-{self.seed}"


COARSE: Final = (BodySample(1101, 353), BodySample(1103, 700))
FINE: Final = (BodySample(1102, 477, is_fine=True), BodySample(1104, 500, is_fine=True))
HARD_COARSE: Final = BodySample(1107, 600, is_hard=True)
HARD_FINE: Final = BodySample(1108, 300, is_fine=True, is_hard=True)
PHANTOMS: Final = (*COARSE, *FINE, HARD_COARSE, HARD_FINE)
"""All that are drawn."""


@dataclass(frozen=True)
class LocalizerStage:
    """One training of one network.

    Attributes
    ----------
    network : str
        ``region``, ``vertebrae`` or ``frames``.
    phantoms : tuple of BodySample
        What is trained on.
    settings : dict
        Fields of `cspine.training.settings.TrainerSettings` that differ from their defaults.
    init : str or None
        Stage whose weights it begins with.
    real_repeat : int
        Patches of each real scan per epoch; no real scan takes part where 0.
    """

    network: "NetworkName"
    phantoms: tuple[BodySample, ...]
    settings: dict[str, Any] = field(hash=False)
    init: str | None = None
    real_repeat: int = 0


STAGES: Final[dict[str, LocalizerStage]] = {
    "region-1": LocalizerStage("region", COARSE, {"epochs": 15, "batch_size": 4, "learning_rate": 2e-3, "seed": 2}),
    "vertebrae-1": LocalizerStage(
        "vertebrae",
        COARSE,
        {"epochs": 15, "batch_size": 2, "learning_rate": 1.5e-3, "seed": 6, "schedule": "constant", "ema_decay": 0.998},
    ),
    "vertebrae-2": LocalizerStage(
        "vertebrae",
        (BodySample(1103, 520),),
        {"epochs": 4, "batch_size": 2, "learning_rate": 1.5e-3, "seed": 12, "warm_up": 0.02, "ema_decay": 0.998},
        init="vertebrae-1",
        real_repeat=16,
    ),
    "frames-1": LocalizerStage(
        "frames",
        FINE,
        {"epochs": 14, "batch_size": 2, "learning_rate": 1.5e-3, "seed": 7, "schedule": "constant", "ema_decay": 0.998},
    ),
    "frames-2": LocalizerStage(
        "frames",
        (BodySample(1104, 460, is_fine=True),),
        {"epochs": 4, "batch_size": 2, "learning_rate": 1.5e-3, "seed": 32, "warm_up": 0.02, "ema_decay": 0.998},
        init="frames-1",
        real_repeat=15,
    ),
    "vertebrae-3": LocalizerStage(
        "vertebrae",
        (HARD_COARSE,),
        {"epochs": 4, "batch_size": 2, "learning_rate": 8e-4, "seed": 13, "warm_up": 0.02, "ema_decay": 0.998},
        init="vertebrae-2",
        real_repeat=10,
    ),
    "frames-3": LocalizerStage(
        "frames",
        (HARD_FINE,),
        {"epochs": 4, "batch_size": 2, "learning_rate": 8e-4, "seed": 33, "warm_up": 0.02, "ema_decay": 0.998},
        init="frames-2",
        real_repeat=7,
    ),
}
"""The second and third stages see real scans, too; the region network finds necks without them."""


def train_stage(
    name: str,
    data: Path,
    out: Path,
    *,
    real: Path | None = None,
    without: Sequence[str] = (),
    progress: "Progress | None" = None,
) -> Path:
    """Train a network for one stage, and return the file of its weights; an interrupted run resumes.

    Parameters
    ----------
    name : str
        One of `STAGES`.
    data : Path
        Folder of the folders of phantoms.
    out : Path
        Folder of all runs; this one goes into the folder of its name, and finds there the stage that it begins with.
    real : Path, optional
        Folder of samples of real scans, with ``coarse`` and ``fine``.
    without : sequence of str
        Real scans that are held out.
    progress : callable, optional
        Called with the number of steps; written to ``progress.log`` where omitted.

    Raises
    ------
    InputError
        The stage trains on real scans, and their folder is not given, or holds none.
    """
    import torch
    from benchmarks.progress import log_progress
    from torch import nn

    from cspine.training.curves import draw_curves
    from cspine.training.devices import open_fabric
    from cspine.training.localizer.networks import NETWORKS
    from cspine.training.localizer.train import split_samples
    from cspine.training.settings import TrainerSettings
    from cspine.training.trainer import fit

    stage, run = STAGES[name], out / name
    recipe, settings = NETWORKS[stage.network], TrainerSettings(**stage.settings, workers=0)
    files = [path for sample in stage.phantoms for path in sample_files(data, sample)]
    train, validation = split_samples(files, settings.batch_size)
    train = train + real_files(real, stage, without) * stage.real_repeat

    def build() -> nn.Module:
        network = recipe.build()
        if stage.init is not None:
            network.load_state_dict(torch.load(out / stage.init / NETWORK_FILE, weights_only=True))
        return network

    run.mkdir(parents=True, exist_ok=True)
    task = recipe.task(train, validation[:MAX_VALIDATION], settings)
    progress = progress or log_progress(run / "progress.log")
    result = fit(open_fabric(settings), build, task, run, settings, stage=name, progress=progress)
    if result is not None:
        torch.save(result.network.state_dict(), run / NETWORK_FILE)
        draw_curves(run, result.curve, title=f"localizer, {name}", is_phantom=not stage.real_repeat)
    return run / NETWORK_FILE


def sample_files(data: Path, sample: BodySample) -> list[Path]:
    """Return the files of phantoms, the first ones of their seed."""
    return sorted((data / sample.folder).glob("*.npz"))[: sample.studies]


def real_files(real: Path | None, stage: LocalizerStage, without: Sequence[str]) -> list[Path]:
    """Return the files of the real scans that a stage trains on."""
    if not stage.real_repeat:
        return []
    folder = None if real is None else real / ("fine" if stage.network == "frames" else "coarse")
    files = [] if folder is None else sorted(folder.glob("*.npz"))
    if not files:
        raise InputError(f"{folder or '--real'}: holds no real scans; write them with scripts.make_real_samples")
    if unknown := sorted({*without} - {path.stem for path in files}):
        raise InputError(f"{', '.join(unknown)}: to be held out, but not among the real scans; check the names")
    return [path for path in files if path.stem not in without]
