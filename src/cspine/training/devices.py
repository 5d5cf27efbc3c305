"""The devices of a training run: one processor or GPU, or one per process that torchrun has started."""

import logging
import os
from collections.abc import Mapping
from typing import Any, Final

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment

from cspine.core.errors import InputError
from cspine.core.logging import quiet_logger
from cspine.training.settings import TrainerSettings

_HALF: Final = "16-mixed"
_BRAIN: Final = "bf16-mixed"


def open_fabric(settings: TrainerSettings) -> Fabric:
    """Set up the devices: one processor or GPU, or one per process that torchrun has started.

    Without torchrun a single device is used, on a machine with several GPUs and in a job of Slurm too: a job array
    trains one network per task.

    Parameters
    ----------
    settings : TrainerSettings
        Hyperparameters, of which only the precision is used here.

    Raises
    ------
    InputError
        The device cannot compute in the precision, or Slurm started several tasks of one run without torchrun.
    """
    check_tasks(os.environ)
    check_precision(settings.precision, device_name())
    precision: Any = settings.precision  # Fabric's own literal type
    # Without torchrun a plain environment: Fabric would otherwise take the tasks of a Slurm job for processes.
    is_alone = not torch.distributed.is_torchelastic_launched()
    with quiet_logger("lightning_fabric", logging.WARNING):  # its INFO records announce the precision
        fabric = Fabric(
            accelerator="auto",
            devices=int(os.environ.get("LOCAL_WORLD_SIZE", "1")),
            num_nodes=int(os.environ.get("GROUP_WORLD_SIZE", "1")),
            precision=precision,
            plugins=[LightningEnvironment()] if is_alone else None,
        )
        fabric.launch()
    return fabric


def device_name() -> str:
    """Return the name of the device that this process trains on: a GPU's, ``MPS``, or ``CPU``."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name(int(os.environ.get("LOCAL_RANK", "0")))
    return "MPS" if torch.backends.mps.is_available() else "CPU"


def check_precision(precision: str, device: str) -> None:
    """Check that a device computes in a precision.

    Parameters
    ----------
    precision : str
        ``32-true``, ``bf16-mixed`` or ``16-mixed``.
    device : str
        As of `device_name`.

    Raises
    ------
    InputError
        It does not: half precision needs a GPU, and bfloat16 a CPU or a GPU that has it (NVIDIA: Ampere or newer).

    Examples
    --------
    >>> check_precision("32-true", "CPU")
    """
    if precision == _HALF and device in {"CPU", "MPS"}:
        raise InputError(
            f"--precision {_HALF}: half precision needs a CUDA GPU, and this is {device}; use {_BRAIN} or 32-true"
        )
    if precision == _BRAIN and device not in {"CPU", "MPS"} and not torch.cuda.is_bf16_supported(False):
        raise InputError(f"--precision {_BRAIN}: {device} has no bfloat16; use {_HALF} or 32-true")


def check_tasks(environment: Mapping[str, str]) -> None:
    """Check that a run is not started several times at once by ``srun``.

    Parameters
    ----------
    environment : mapping of str to str
        Environment variables.

    Raises
    ------
    InputError
        This is one of several tasks of a step of Slurm, and torchrun started none of them.

    Examples
    --------
    >>> check_tasks({"SLURM_STEP_NUM_TASKS": "1"})
    """
    tasks = environment.get("SLURM_STEP_NUM_TASKS", "1")
    if tasks.isdecimal() and int(tasks) > 1 and "TORCHELASTIC_RUN_ID" not in environment:
        raise InputError(
            f"srun started {tasks} tasks of one training run; start one task per node, and torchrun in it "
            "(see deploy/slurm/train.sbatch)"
        )
