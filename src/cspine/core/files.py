"""Writing so that a file is either there as a whole or not at all."""

import errno
import json
import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cspine.core.errors import DiskFullError, InputError, LabelError, OutputError, OutputTakenError

if TYPE_CHECKING:
    from pydantic import BaseModel

Model = TypeVar("Model", bound="BaseModel")

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, and move it into place when the block ends well.

    Parameters
    ----------
    path : Path
        The file that shall exist in the end. Its folder is made where it is missing.

    Yields
    ------
    Path
        Where to write. It is removed again if the block raises.

    Raises
    ------
    DiskFullError
        There is no space left.
    OutputError
        The file cannot be written for another reason.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=f".part{path.suffix}")
        os.close(handle)
    except OSError as error:
        raise _as_output_error(path, error) from error
    part = Path(name)
    try:
        yield part
        umask = os.umask(0)
        os.umask(umask)
        part.chmod(0o666 & ~umask)  # mkstemp gives 0600; the result should follow the user's umask
        part.replace(path)
    except OSError as error:
        raise _as_output_error(path, error) from error
    finally:
        part.unlink(missing_ok=True)


def complete_files(folder: Path, pattern: str) -> list[Path]:
    """Return a folder's files by a pattern of names, sorted, without those that `atomic_path` had not moved into place.

    A program that is killed leaves such a file behind, and '*' takes its name, too.
    """
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn the system's errors of writing at `path`, by whatever is called in the block, into ours.

    Raises
    ------
    DiskFullError
        There is no space left.
    OutputError
        It cannot be written for another reason.
    """
    try:
        yield
    except OSError as error:
        raise _as_output_error(path, error) from error


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` atomically; raises as `atomic_path` does."""
    with atomic_path(path) as part:
        part.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically as UTF-8; raises as `atomic_path` does."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:  # noqa: ANN401 - anything JSON can hold
    """Write `value` to `path` atomically as indented JSON; raises as `atomic_path` does."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def plain_json(value: Any) -> Any:  # noqa: ANN401 - anything JSON can hold
    """Return a value as JSON can hold it: arrays as lists, names as text, and what is no finite number as None."""
    if isinstance(value, dict):
        return {str(key): plain_json(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_json(part) for part in value]
    if hasattr(value, "tolist"):  # numpy's
        return plain_json(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def append_line(path: Path, line: str) -> None:
    """Add a line to a file, in one piece even where another process adds one too.

    Raises
    ------
    DiskFullError, OutputError
    """
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            os.write(handle, f"{line}\n".encode())
        finally:
            os.close(handle)


def read_json(path: Path) -> Any:  # noqa: ANN401 - anything JSON can hold
    """Return the JSON value in `path`.

    Raises
    ------
    InputError
        The file is missing, unreadable or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except ValueError as error:
        raise InputError(f"{path}: is not valid JSON ({error}); it may be damaged, make it again") from error


def read_model(path: Path, model: type[Model], *, wrong: str) -> Model:
    """Return what a JSON file holds, checked by a pydantic model.

    Parameters
    ----------
    path : Path
        The file.
    model : type
        What it should hold.
    wrong : str
        Said of a file that holds something else: the fact and the remedy.

    Raises
    ------
    LabelError
        The file is missing, unreadable or holds something else.
    """
    try:
        return model.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise LabelError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except ValueError as error:  # pydantic's are
        raise LabelError(f"{path}: {wrong}") from error


def open_run_directory(folder: Path, marker: str, identity: dict[str, Any], *, remedy: str) -> bool:
    """Take an output folder for one job: new, or resumed where the same job began it.

    Parameters
    ----------
    folder : Path
        The output folder.
    marker : str
        Name of the JSON file in it that tells which job it belongs to.
    identity : dict
        What makes the job the same job; compared for equality with the marker's content.
    remedy : str
        What to do when the folder belongs to another job, for the error's sentence.

    Returns
    -------
    bool
        True where an earlier run of the same job is resumed.

    Raises
    ------
    OutputTakenError
        The folder holds something else.
    DiskFullError, OutputError
        The folder cannot be written.
    """
    path = folder / marker
    if path.is_file():
        found = read_json(path)
        if found == identity:
            return True
        differing = sorted(key for key in {*found, *identity} if found.get(key) != identity.get(key))
        raise OutputTakenError(f"{folder}: began with other {', '.join(differing)}; {remedy}")
    if folder.exists() and not folder.is_dir():
        raise OutputTakenError(f"{folder}: is a file, not a folder; choose another --out")
    if folder.is_dir() and any(not entry.name.startswith(".") for entry in folder.iterdir()):
        raise OutputTakenError(f"{folder}: holds files that are not ours; choose another --out")
    write_json(path, identity)
    return False


def _as_output_error(path: Path, error: OSError) -> OutputError:
    """Turn the system's error into a sentence of ours."""
    if error.errno in _FULL:
        return DiskFullError(f"{path}: the disk is full; free some space and run the same command again")
    return OutputError(f"{path}: cannot be written ({error.strerror or error}); check the folder's permissions")
