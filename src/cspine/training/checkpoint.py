"""Checkpoints: a run's state after an epoch, from which it goes on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from cspine.core.errors import InputError
from cspine.core.files import atomic_path

FILE: Final = "checkpoint.pt"


@dataclass
class RunState:
    """Everything that an interrupted run needs to go on as if it had not been.

    Attributes
    ----------
    epoch : int
        Epochs finished.
    best_loss : float
        Lowest loss on the held-out patients so far.
    best_epoch : int
        When that was, from 1.
    """

    network: dict[str, Any]
    optimizer: dict[str, Any]
    best_network: dict[str, Any]
    epoch: int
    best_loss: float
    best_epoch: int
    curve: list[dict[str, float]]


def save_checkpoint(folder: Path, state: RunState) -> None:
    """Write the state atomically."""
    save_state(folder, vars(state))


def load_checkpoint(folder: Path) -> RunState | None:
    """Return the state of an earlier run, or None where there is none; runs no code from the file.

    Raises
    ------
    InputError
        The file is damaged.
    """
    state = load_state(folder)
    return None if state is None else RunState(**state)


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Write tensors and numbers atomically."""
    with atomic_path(folder / FILE) as part:
        torch.save(state, part)


def load_state(folder: Path) -> dict[str, Any] | None:
    """Return what `save_state` wrote, or None where there is nothing; raises as `load_checkpoint` does."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(
            f"{path}: cannot be read ({type(error).__name__}); delete it to train from the start"
        ) from error
    return state
