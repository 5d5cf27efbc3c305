"""The localizer's three networks: how each is built, and what it is trained on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from torch import nn

from cspine.training.localizer.frame_task import FrameTask, build_frame_network
from cspine.training.localizer.region_task import RegionTask, build_region_network
from cspine.training.localizer.vertebra_task import VertebraTask, build_vertebra_network
from cspine.training.settings import TrainerSettings
from cspine.training.task import TrainingTask

NetworkName = Literal["region", "vertebrae", "frames"]


@dataclass(frozen=True)
class NetworkRecipe:
    """How a network is built and trained.

    Attributes
    ----------
    build : callable
        Returns a new network.
    task : callable
        Returns its task, given files of training and of validation samples, and the hyperparameters.
    is_fine : bool
        Whether it is trained on fine samples.
    """

    build: Callable[[], nn.Module]
    task: Callable[[Sequence[Path], Sequence[Path], TrainerSettings], TrainingTask]
    is_fine: bool


NETWORKS: Final[dict[NetworkName, NetworkRecipe]] = {
    "region": NetworkRecipe(build_region_network, RegionTask, is_fine=False),
    "vertebrae": NetworkRecipe(build_vertebra_network, VertebraTask, is_fine=False),
    "frames": NetworkRecipe(build_frame_network, FrameTask, is_fine=True),
}
