"""Weights: an ONNX file that says of itself what it is, what it has seen, and how its input is made.

Loading runs nothing from the file but its graph, and never goes to the network.
"""

import hashlib
import json
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import onnxruntime
from pydantic import ValidationError

from cspine.core.errors import WeightsError
from cspine.core.findings import WeightsIdentity
from cspine.models.metadata import METADATA_KEY, ModelMetadata

CardT = TypeVar("CardT", bound=ModelMetadata)

MAX_BYTES: Final = 512 * 2**20


@dataclass(frozen=True)
class Weights(Generic[CardT]):
    """Weights that are loaded and checked.

    Attributes
    ----------
    metadata : Card
        What they say of themselves.
    sha256 : str
        Of the file.
    """

    metadata: CardT
    sha256: str
    session: onnxruntime.InferenceSession = field(repr=False)

    @property
    def identity(self) -> WeightsIdentity:
        """What findings say of the weights."""
        metadata = self.metadata
        return WeightsIdentity(
            name=metadata.name, sha256=self.sha256, trained_on=metadata.trained_on, phantom_only=metadata.phantom_only
        )

    @property
    def input_shape(self) -> tuple[int | str | None, ...]:
        """The first input's sides; those that may vary are names."""
        return tuple(self.session.get_inputs()[0].shape)

    @property
    def outputs(self) -> dict[str, int]:
        """Of each output, how many axes it has."""
        return {output.name: len(output.shape) for output in self.session.get_outputs()}


def load_weights(kind: type[CardT], path: Path | None = None, *, threads: int = 0) -> Weights[CardT]:
    """Load weights from a file, or those that come with cspine.

    Parameters
    ----------
    kind : type
        The card that they must carry.
    path : Path, optional
        An ONNX file written by `cspine train`; the embedded phantom-trained weights where omitted.
    threads : int
        Threads of ONNX Runtime; 0 leaves it the choice.

    Raises
    ------
    WeightsError
        The file is missing, damaged, not written by cspine, or of another network.
    """
    name, data = read_weights(kind, path)
    session = _session(data, name, threads)
    return Weights(_card(kind, session, name), hashlib.sha256(data).hexdigest(), session)


def read_weights(kind: type[ModelMetadata], path: Path | None = None) -> tuple[str, bytes]:
    """Return what a weights file is called in sentences, and its bytes, unchecked; raises as `load_weights` does."""
    embedded = f"{kind.model_fields['name'].default}.onnx"
    if path is None:
        return f"embedded {embedded}", embedded_bytes(embedded)
    return str(path), read_file(path, str(path))


def network_name(path: Path) -> str:
    """Return which network a weights file holds, by its card.

    Raises
    ------
    WeightsError
        The file is missing, damaged or not written by cspine.
    """
    told = _told(_session(read_file(path, str(path)), str(path), 1), str(path))
    return str(told.get("name")) if isinstance(told, dict) else ""


def _session(data: bytes, name: str, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise WeightsError(
            f"{name}: is not an ONNX file that can be run; get it again or train with `cspine train`"
        ) from error


def embedded_bytes(name: str) -> bytes:
    """Return a weights file that comes with cspine."""
    return resources.files("cspine.models").joinpath("embedded", name).read_bytes()


def read_file(path: Path, name: str) -> bytes:
    """Return a weights file's bytes; raises WeightsError."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise WeightsError(f"{name}: is larger than {MAX_BYTES // 2**20} MiB; it is no file of ours")
        return path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{name}: cannot be read ({error.strerror}); check the path") from error


def _card(kind: type[CardT], session: onnxruntime.InferenceSession, name: str) -> CardT:
    told = _told(session, name)
    wanted = kind.model_fields["name"].default
    if isinstance(told, dict) and told.get("name", wanted) != wanted:
        raise WeightsError(f"{name}: holds another network than {wanted}; name a file of that one")
    try:
        return kind.model_validate(told)
    except ValidationError as error:
        raise WeightsError(
            f"{name}: its card is not valid; use a file written by this version's `cspine train`"
        ) from error


def _told(session: onnxruntime.InferenceSession, name: str) -> Any:  # noqa: ANN401 - whatever the file holds
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    if text is None:
        raise WeightsError(f"{name}: carries no card of cspine; use a file written by `cspine train`")
    try:
        return json.loads(text)
    except ValueError as error:
        raise WeightsError(
            f"{name}: its card is not valid; use a file written by this version's `cspine train`"
        ) from error
