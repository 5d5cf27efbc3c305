"""The weights at hand: those that come with cspine, and those that were installed from a file."""

import hashlib
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cspine.core.errors import CspineError, OutputTakenError, WeightsError
from cspine.core.files import complete_files, write_bytes
from cspine.models.metadata import BaselineMetadata, LevelsMetadata, LocalizerMetadata, ModelMetadata
from cspine.models.weights import Weights, embedded_bytes, load_weights, network_name, read_file

KINDS: Final[dict[str, type[ModelMetadata]]] = {
    "levels": LevelsMetadata,
    "localizer": LocalizerMetadata,
    "baseline-cnn": BaselineMetadata,
}
"""Networks by their card's name; weights of each come with cspine, under that name."""

DEFAULT: Final = "levels"
"""Name of the weights that are used where none are named."""

SUMS_FILE: Final = "SHA256SUMS"
FOLDER: Final = "CSPINE_WEIGHTS"
"""Set in the environment, it names the folder of installed weights."""

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True)
class RegisteredWeights:
    """Weights at hand.

    Attributes
    ----------
    name : str
        What to call them by.
    path : Path or None
        None of those that come with cspine.
    network : str or None
        The card's name; None where the file cannot be used.
    trained_on, sha256 : str
    phantom_only : bool
    size : int
        In bytes.
    fault : str or None
        Why they cannot be used, in one sentence; None where they can.
    """

    name: str
    path: Path | None
    network: str | None
    trained_on: str
    sha256: str
    phantom_only: bool
    size: int
    fault: str | None


def weights_folder() -> Path:
    """Return where installed weights lie: ``$CSPINE_WEIGHTS``, or the user's folder for data."""
    if os.environ.get(FOLDER):
        return Path(os.environ[FOLDER])
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", str(Path.home()))) / "cspine" / "weights"
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / "cspine" / "weights"


def resolve(weights: str | Path) -> tuple[str, Path | None]:
    """Return the network, and the file or None, of weights that are named or lie at a path.

    Raises
    ------
    WeightsError
        There are no such weights, or it cannot be told which network they are.
    """
    name = str(weights)
    if name in KINDS:
        return name, None
    installed = weights_folder() / f"{name}.onnx"
    path = installed if _NAME.fullmatch(name) and installed.is_file() else Path(weights)
    if path is not installed and not path.exists() and _NAME.fullmatch(name):
        raise WeightsError(f"{name}: is no file and no weights at hand; `cspine weights` lists those")
    return _network(path), path


def install(path: Path, name: str, sha256: str | None = None) -> RegisteredWeights:
    """Copy a weights file to the shelf, after it was loaded and checked; nothing is fetched from anywhere.

    Parameters
    ----------
    path : Path
        An ONNX file of `cspine train`.
    name : str
        What to call it by: small letters, digits, dots and dashes.
    sha256 : str, optional
        The hash that the file must have.

    Raises
    ------
    WeightsError
        The file cannot be used, has another hash, or the name is none.
    OutputTakenError
        Other weights of that name are there.
    DiskFullError, OutputError
        The shelf cannot be written.
    """
    if not _NAME.fullmatch(name) or name in KINDS:
        raise WeightsError(
            f"{name}: is no name to give; use small letters, digits, dots and dashes, but none of {', '.join(KINDS)}"
        )
    data = read_file(path, str(path))
    found = hashlib.sha256(data).hexdigest()
    if sha256 is not None and found != sha256.lower():
        raise WeightsError(f"{path}: has sha256 {found}, not the one given; get the file again")
    _load(_network(path), path)
    target = weights_folder() / f"{name}.onnx"
    if target.exists() and hashlib.sha256(target.read_bytes()).hexdigest() != found:
        raise OutputTakenError(f"{target}: other weights have this name; choose another, or delete the file")
    write_bytes(target, data)
    write_bytes(target.with_suffix(".sha256"), f"{found}  {target.name}\n".encode())
    return _shelved(name, target, found)


def list_weights() -> list[RegisteredWeights]:
    """Return all weights at hand, each loaded and held against the hash that it came with."""
    sums = embedded_sums()
    found = [_shelved(name, None, sums.get(f"{name}.onnx")) for name in KINDS]
    return found + [_shelved(path.stem, path, noted) for path, noted in shelved_paths()]


def embedded_sums() -> dict[str, str]:
    """Return the hashes of the files that come with cspine, by name."""
    return dict(line.split()[::-1] for line in embedded_bytes(SUMS_FILE).decode().splitlines())


def shelved_paths() -> list[tuple[Path, str | None]]:
    """Return the files that were installed, each with the hash noted then."""
    folder, found = weights_folder(), []
    for path in complete_files(folder, "*.onnx") if folder.is_dir() else []:
        note = path.with_suffix(".sha256")
        words = note.read_text("utf-8", "replace").split() if note.is_file() else []
        found.append((path, words[0] if words else None))
    return found


def _shelved(name: str, path: Path | None, expected: str | None) -> RegisteredWeights:
    network, trained_on, phantom_only, fault, data = None, "", False, None, b""
    try:
        data = read_file(path, name) if path else embedded_bytes(f"{name}.onnx")
        network = _network(path) if path else name
        metadata = _load(network, path).metadata
        trained_on, phantom_only = metadata.trained_on, metadata.phantom_only
    except CspineError as error:
        fault = str(error)
    sha256 = hashlib.sha256(data).hexdigest()
    if fault is None and sha256 != expected:
        fault = f"{name}: has changed since it was installed, or was put there by hand; install it again"
    return RegisteredWeights(name, path, network, trained_on, sha256, phantom_only, len(data), fault)


def _network(path: Path) -> str:
    name = network_name(path)
    if name not in KINDS:
        raise WeightsError(f"{path}: holds a network that this version does not know; update cspine")
    return name


def _load(network: str, path: Path | None) -> Weights[ModelMetadata]:
    return load_weights(KINDS[network], path)
