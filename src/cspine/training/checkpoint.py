"""Checkpoints: the state of a run after an epoch, from which it can be resumed."""

import io
from pathlib import Path
from typing import Any, Final

import torch

from cspine.core.errors import InputError
from cspine.core.files import write_bytes

CHECKPOINT_FILE: Final = "checkpoint.pt"


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Write a state atomically to `CHECKPOINT_FILE`.

    Parameters
    ----------
    folder : Path
        Folder of the run, with its checkpoint and learning curves.
    state : dict
        Tensors, numbers, and lists and dictionaries of them.

    Raises
    ------
    DiskFullError, OutputError
        The file cannot be written.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)  # its own writer of files reports a full disk without the system's error
    write_bytes(folder / CHECKPOINT_FILE, buffer.getvalue())


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """Return the state that `save_checkpoint` wrote, on the CPU; None where there is none.

    Only tensors and plain containers are unpickled (``weights_only=True``), so that a file cannot run code.

    Parameters
    ----------
    folder : Path
        Folder of the run, with its checkpoint and learning curves.

    Raises
    ------
    InputError
        The file is damaged.
    """
    path = folder / CHECKPOINT_FILE
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:  # of the disk, or of a store
            state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(f"{path}: cannot be read ({type(error).__name__}); delete it to train from epoch 1") from error
    return state
