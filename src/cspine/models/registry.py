"""The registry of weights: those that are embedded in the package, and those that were installed from a file."""

import hashlib
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cspine.core.errors import CspineError, OutputTakenError, WeightsError
from cspine.core.files import complete_files, write_bytes
from cspine.core.networks import NetworkName
from cspine.core.storage.locations import as_path
from cspine.models.metadata import BaselineMetadata, LevelsMetadata, LocalizerMetadata, ModelMetadata
from cspine.models.weights import Weights, embedded_bytes, load_weights, network_name, read_file

METADATA_TYPES: Final[dict[str, type[ModelMetadata]]] = {
    "levels": LevelsMetadata,
    "localizer": LocalizerMetadata,
    "baseline-cnn": BaselineMetadata,
}
"""Type of the metadata by the name of the network, for all networks whose weights can be read."""

EMBEDDED: Final[tuple[NetworkName, ...]] = ("levels", "localizer", "baseline-cnn")
"""Names of the embedded weights; each is the name of their network, too."""

DEFAULT: Final = "levels"
"""Name of the weights that are used where none are named."""

SUMS_FILE: Final = "SHA256SUMS"
"""Name of the embedded file of hashes."""

FOLDER_VARIABLE: Final = "CSPINE_WEIGHTS"
"""Environment variable that names the folder of installed weights."""

_NAME: Final = re.compile(r"(?!(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\.|$))[a-z0-9][a-z0-9._-]{0,63}")
"""Names of files on every system; the first ones are devices of Windows."""


@dataclass(frozen=True)
class RegisteredWeights:
    """Weights of the registry.

    Attributes
    ----------
    name : str
        The name by which they are loaded.
    path : Path or None
        Their file; None for embedded weights.
    network : str or None
        The name of their network; None where the file cannot be used.
    trained_on : str
        What data they were trained on, for people; empty where the file cannot be used.
    sha256 : str
        SHA-256 of the file.
    phantom_only : bool
        Whether they were trained on phantoms alone.
    size : int
        Size of the file in bytes.
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


def weights_folder() -> Path | None:
    """Return the folder of installed weights: ``$CSPINE_WEIGHTS``, or a folder of the user's application data.

    None for a user without a home directory, as of a container that runs as any user.
    """
    if os.environ.get(FOLDER_VARIABLE):
        return Path(os.environ[FOLDER_VARIABLE])
    data = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_DATA_HOME")
    if data:
        return Path(data) / "cspine" / "weights"
    try:
        home = Path.home()
    except RuntimeError:
        return None
    return (home if sys.platform == "win32" else home / ".local" / "share") / "cspine" / "weights"


def resolve_weights(weights: str | Path) -> tuple[str, Path | None]:
    """Return the network and the file of registered weights, or of a file.

    Parameters
    ----------
    weights : str or Path
        A name of registered weights, or the path of an ONNX file.

    Returns
    -------
    network : str
        The name of the network.
    path : Path or None
        The file; None for embedded weights.

    Raises
    ------
    WeightsError
        There are no such weights, or their network is not known.
    """
    name = str(weights)
    if name in EMBEDDED:
        return name, None
    path = _installed(name) or as_path(weights)
    if _NAME.fullmatch(name) and not path.exists():
        raise WeightsError(f"{name}: is neither a file nor registered weights; `cspine weights` lists those")
    return _network(path), path


def install_weights(path: str | Path, name: str, sha256: str | None = None) -> RegisteredWeights:
    """Add a weights file to the registry by copying it, after it was loaded and checked; nothing is downloaded.

    Parameters
    ----------
    path : str or Path
        An ONNX file written by ``cspine train``.
    name : str
        The name to register it under: small letters, digits, dots and dashes.
    sha256 : str, optional
        The hash that the file must have.

    Raises
    ------
    WeightsError
        The file cannot be used, has another hash, or the name is not allowed.
    OutputTakenError
        Other weights are registered under the name.
    DiskFullError, OutputError
        The registry's folder cannot be written.
    """
    path = as_path(path)
    if not _NAME.fullmatch(name) or name in EMBEDDED:
        allowed = "small letters, digits, dots and dashes"
        raise WeightsError(f"{name}: is not allowed as a name; use {allowed}, but none of {', '.join(EMBEDDED)}")
    data = read_file(path, str(path))
    actual = hashlib.sha256(data).hexdigest()
    if sha256 is not None and actual != sha256.lower():
        raise WeightsError(f"{path}: has sha256 {actual}, not the one given; get the file again")
    _load(_network(path), path)
    folder = weights_folder()
    if folder is None:
        raise WeightsError(f"{name}: this user has no home directory; name a folder in {FOLDER_VARIABLE}")
    target = folder / f"{name}.onnx"
    if target.exists() and hashlib.sha256(target.read_bytes()).hexdigest() != actual:
        raise OutputTakenError(f"{target}: other weights have this name; choose another, or delete the file")
    write_bytes(target, data)
    write_bytes(target.with_suffix(".sha256"), f"{actual}  {target.name}\n".encode())
    return _verify(name, target, actual)


def list_weights() -> list[RegisteredWeights]:
    """Return all registered weights, each loaded and verified against its recorded hash."""
    sums = embedded_sha256()
    embedded = [_verify(name, None, sums.get(f"{name}.onnx")) for name in EMBEDDED]
    return embedded + [_verify(path.stem, path, recorded) for path, recorded in installed_files()]


def embedded_sha256() -> dict[str, str]:
    """Return the SHA-256 of each embedded file, by its name."""
    return dict(line.split()[::-1] for line in embedded_bytes(SUMS_FILE).decode().splitlines())


def installed_files() -> list[tuple[Path, str | None]]:
    """Return the installed files, each with the SHA-256 that was recorded when it was installed."""
    folder, files = weights_folder(), []
    for path in complete_files(folder, "*.onnx") if folder is not None and _is_readable(folder) else []:
        record = path.with_suffix(".sha256")
        words = record.read_text("utf-8", "replace").split() if record.is_file() else []
        files.append((path, words[0] if words else None))
    return files


def _installed(name: str) -> Path | None:
    """Return the installed file of a name; None where there is none."""
    folder = weights_folder()
    if folder is None or not _NAME.fullmatch(name) or not _is_readable(folder):
        return None
    path = folder / f"{name}.onnx"
    return path if path.is_file() else None


def _is_readable(folder: Path) -> bool:
    """Return whether a folder exists and may be read; the home of another user may not."""
    return os.access(folder, os.R_OK | os.X_OK)


def _verify(name: str, path: Path | None, expected_sha256: str | None) -> RegisteredWeights:
    """Load weights, and compare their hash with the recorded one."""
    network, trained_on, phantom_only, fault, data = None, "", False, None, b""
    try:
        data = read_file(path, name) if path else embedded_bytes(f"{name}.onnx")
        network = _network(path) if path else name
        metadata = _load(network, path).metadata
        trained_on, phantom_only = metadata.trained_on, metadata.phantom_only
    except CspineError as error:
        fault = str(error)
    sha256 = hashlib.sha256(data).hexdigest()
    if fault is None and sha256 != expected_sha256:
        fault = f"{name}: has changed since it was installed, or was put there by hand; install it again"
    return RegisteredWeights(name, path, network, trained_on, sha256, phantom_only, len(data), fault)


def _network(path: Path) -> str:
    name = network_name(path)
    if name not in METADATA_TYPES:
        raise WeightsError(f"{path}: holds a network that this version does not know; update cspine")
    return name


def _load(network: str, path: Path | None) -> Weights[ModelMetadata]:
    return load_weights(METADATA_TYPES[network], path, provider="cpu")
