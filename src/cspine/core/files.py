"""Atomic writing: a file is either complete or not there."""

import errno
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import uuid4

from cspine.core.errors import CspineError, DiskFullError, InputError, LabelError, OutputError
from cspine.core.storage.read_ahead import replace_folder
from cspine.core.storage.remote_path import RemotePath

if TYPE_CHECKING:
    from pydantic import BaseModel

Model = TypeVar("Model", bound="BaseModel")

_AGAIN: Final = "and run the same command again"

_FULL: Final = {
    errno.ENOSPC: f"the disk is full; free some space {_AGAIN}",
    getattr(errno, "EDQUOT", -1): f"your share of the disk is full; free some space {_AGAIN}",
    errno.EFBIG: f"the disk is full for it, since files may not be so large; raise the limit of a file's size {_AGAIN}",
}
"""Fact and remedy of the system's errors that mean a full disk."""

_OTHER: Final = {
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.ENAMETOOLONG: "the path is too long; choose a shorter one",
    errno.EMFILE: f"too many files are open; raise the limit (ulimit -n) {_AGAIN}",
    errno.ENFILE: f"too many files are open on this machine; close other programs {_AGAIN}",
    errno.EIO: f"the disk fails or is gone; check it {_AGAIN}",
}
"""Fact and remedy of other errors of the system whose remedy is not the folder's permissions."""

_OPEN_ELSEWHERE: Final = 32
"""Windows' code of a file that another program holds open."""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, and move it into place when the block succeeds.

    An object of a store is written to a temporary file of the disk, and stored by one request.

    Parameters
    ----------
    path : Path
        The file to write. Its folder is created if missing.

    Yields
    ------
    Path
        Where to write; removed if the block raises.

    Raises
    ------
    DiskFullError
        No space is left.
    OutputError
        The file cannot be written for another reason.
    """
    if isinstance(path, RemotePath):
        with tempfile.TemporaryDirectory(prefix="cspine-") as folder:
            part = Path(folder) / f"part{path.suffix}"
            with output_errors(path):
                yield part
            path.upload(part)
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=f".part{path.suffix}")
        os.close(handle)
    except OSError as error:
        raise _as_output_error(path, error) from error
    part = Path(name)
    try:
        with output_errors(path):
            yield part
            umask = os.umask(0)
            os.umask(umask)
            with suppress(PermissionError):  # a file system that knows no modes
                part.chmod(0o666 & ~umask)  # mkstemp gives 0600; the result should follow the user's umask
            part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `folder`, and move it into place when the block succeeds.

    A folder that is there is replaced. Where two processes write the same one at the same time, such as a job that was
    taken for dead and its restart, the last one wins. In a store its objects appear one by one, so that the caller
    writes last what says that they are complete.

    Parameters
    ----------
    folder : Path
        The folder to write. Those above it are created if missing.

    Yields
    ------
    Path
        An empty folder to write into; removed if the block raises.

    Raises
    ------
    DiskFullError, OutputError
        As by `atomic_path`.
    """
    if isinstance(folder, RemotePath):
        with tempfile.TemporaryDirectory(prefix="cspine-") as name:
            with output_errors(folder):
                yield Path(name)
            replace_folder(folder, {path.name: path.read_bytes() for path in Path(name).iterdir()})
        return
    part = folder.with_name(f".{folder.name}.{uuid4().hex[:12]}.part")
    try:
        with output_errors(folder):
            part.mkdir(parents=True)
            yield part
            while not _moved(part, folder):
                discarded = folder.with_name(f".{folder.name}.{uuid4().hex[:12]}.part")
                with suppress(FileNotFoundError):  # another process was quicker
                    folder.rename(discarded)
                shutil.rmtree(discarded, ignore_errors=True)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def remove_unfinished(*folders: Path) -> None:
    """Remove what killed processes left of `atomic_path` and `atomic_folder` where nobody writes any more."""
    for part in (part for folder in folders for part in folder.glob(".*.part*")):
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)


def _moved(part: Path, folder: Path) -> bool:
    """Move a folder into place; return False where one is there that is not empty."""
    try:
        part.rename(folder)
    except OSError as error:
        if error.errno in {errno.ENOTEMPTY, errno.EEXIST} or (os.name == "nt" and folder.is_dir()):
            return False
        raise
    return True


def complete_files(folder: Path, pattern: str) -> list[Path]:
    """Return the complete files of a folder that match a pattern, sorted.

    A program that is killed leaves a temporary file of `atomic_path` behind; its name begins with a dot, so it is left
    out.
    """
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Convert the system's errors of writing in the block into ours, also those that a library wraps.

    Raises
    ------
    DiskFullError, OutputError
        As by `atomic_path`.
    """
    try:
        yield
    except CspineError:
        raise
    except Exception as error:
        cause = _system_error(error)
        if cause is None:
            raise
        raise _as_output_error(path, cause) from error


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` atomically; raises as `atomic_path` does."""
    if isinstance(path, RemotePath):
        path.write_bytes(data)
        return
    with atomic_path(path) as part:
        part.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically as UTF-8; raises as `atomic_path` does.

    A byte of a file's name that is not UTF-8 is written as an escape.
    """
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_json(path: Path, value: Any) -> None:  # noqa: ANN401 - anything JSON can hold
    """Write `value` to `path` atomically as indented JSON; raises as `atomic_path` does."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def write_new_json(path: Path, value: Any) -> bool:  # noqa: ANN401 - anything JSON can hold
    """Write `value` to `path` as `write_json` does, unless the file is there; of many processes, one writes it.

    Returns
    -------
    bool
        Whether this call wrote it.

    Raises
    ------
    DiskFullError, OutputError
        As by `atomic_path`.
    """
    if isinstance(path, RemotePath):
        return path.write_new((json.dumps(value, indent=2, allow_nan=False) + "\n").encode())
    part = path.with_name(f".{path.name}.{uuid4().hex[:12]}.part")
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")
            os.link(part, path)
        except FileExistsError:
            return False
        except OSError:  # a file system without links
            if path.exists():
                return False
            part.replace(path)  # raises where the file could not be written
        finally:
            part.unlink(missing_ok=True)
    return True


def plain_json(value: Any) -> Any:  # noqa: ANN401 - anything JSON can hold
    """Return a value as JSON can hold it: arrays as lists, keys as text, NaN and infinity as None."""
    if isinstance(value, dict):
        return {str(key): plain_json(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_json(part) for part in value]
    if hasattr(value, "tolist"):  # numpy's
        return plain_json(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def append_line(path: Path, line: str) -> None:
    """Append a line to a file by a single write, so that lines of several processes do not mix.

    Raises
    ------
    DiskFullError, OutputError
    """
    if isinstance(path, RemotePath):
        raise OutputError(f"{path}: a store cannot append to an object; use a folder on this machine")
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            os.write(handle, f"{line}\n".encode("utf-8", "backslashreplace"))
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
        raise InputError(f"{path}: is not valid JSON ({error}); it may be damaged, create it again") from error


def read_model(path: Path, model: type[Model], *, wrong: str) -> Model:
    """Return the content of a JSON file, validated by a pydantic model.

    Parameters
    ----------
    path : Path
        The JSON file to read.
    model : type
        The pydantic model that the content has to match.
    wrong : str
        Fact and remedy for the message where the file holds something else.

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


def _system_error(error: Exception) -> OSError | None:
    """Return the system's error that an error is or was caused by; None where there is none.

    Libraries wrap the system's errors: pydicom's writer raises one without number whose text is a traceback.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in {*_FULL, *_OTHER}:
            return cause
        cause = cause.__cause__ or cause.__context__
    return error if isinstance(error, OSError) else None


def _as_output_error(path: Path, error: OSError) -> OutputError:
    """Return our error for a system's error, with a remedy."""
    if error.errno in _FULL:
        return DiskFullError(f"{path}: {_FULL[error.errno]}")
    if error.errno in _OTHER:
        return OutputError(f"{path}: {_OTHER[error.errno]}")
    if getattr(error, "winerror", None) == _OPEN_ELSEWHERE:
        return OutputError(f"{path}: another program has it open; close it {_AGAIN}")
    fact = error.strerror or type(error).__name__
    return OutputError(f"{path}: cannot be written ({fact}); check the folder's permissions")
