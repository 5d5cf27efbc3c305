"""Weights: an ONNX file whose metadata describe the network, its training data and its input.

Loading executes nothing from the file but its graph, and never accesses the internet.
"""

import hashlib
import json
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from pydantic import ValidationError

from cspine.core.errors import WeightsError
from cspine.core.findings import WeightsIdentity
from cspine.models.metadata import METADATA_KEY, ModelMetadata
from cspine.models.onnx_runtime import Session
from cspine.models.providers import ProviderName

MetadataT = TypeVar("MetadataT", bound=ModelMetadata)

MAX_BYTES: Final = 512 * 2**20
"""Largest weights file that is read."""


@dataclass(frozen=True)
class Weights(Generic[MetadataT]):
    """Weights that were loaded and checked.

    Attributes
    ----------
    metadata : ModelMetadata
        The metadata of their network.
    sha256 : str
        SHA-256 of the file.
    session : Session
        The network, ready to run.
    """

    metadata: MetadataT
    sha256: str
    session: Session = field(repr=False)

    @property
    def identity(self) -> WeightsIdentity:
        """What findings record of the weights."""
        metadata = self.metadata
        return WeightsIdentity(
            name=metadata.name,
            sha256=self.sha256,
            trained_on=metadata.trained_on,
            phantom_only=metadata.phantom_only,
            synthetic_only=metadata.synthetic_only,
            execution_provider=self.session.execution_provider,
        )

    @property
    def input_shape(self) -> tuple[int | str | None, ...]:
        """The shape of the first input; dynamic sides are names."""
        return next(iter(self.session.input_shapes.values()))

    @property
    def outputs(self) -> dict[str, int]:
        """The number of axes of each output."""
        return self.session.output_axes

    def require(self, fits: bool, path: Path | None) -> None:
        """Raise WeightsError unless the network fits its metadata.

        Parameters
        ----------
        fits : bool
            Whether inputs and outputs are those that the metadata describe.
        path : Path or None
            The file, for the message; None for embedded weights.
        """
        if not fits:
            raise WeightsError(f"{path or self.metadata.name}: its network does not fit its metadata; get it again")


def load_weights(
    metadata_type: type[MetadataT],
    path: Path | None = None,
    *,
    threads: int = 0,
    provider: ProviderName | None = None,
) -> Weights[MetadataT]:
    """Load weights from a file, or the embedded ones.

    Parameters
    ----------
    metadata_type : type
        Metadata of the network that is expected.
    path : Path, optional
        An ONNX file written by ``cspine train``; the embedded weights where omitted.
    threads : int
        Threads of ONNX Runtime; as many as this process may use where 0.
    provider : str, optional
        The execution provider, as of `cspine.models.providers.requested_provider`.

    Raises
    ------
    InputError
        The installed ONNX Runtime has no such execution provider.
    WeightsError
        The file is missing, damaged, not written by cspine, written by cspine 0.1, or holds another network.
    """
    name, data = read_weights(metadata_type, path)
    session = Session(data, name, threads, provider)
    return Weights(_metadata(metadata_type, session, name), hashlib.sha256(data).hexdigest(), session)


def read_weights(metadata_type: type[ModelMetadata], path: Path | None = None) -> tuple[str, bytes]:
    """Return the name of a weights file for messages, and its unchecked bytes; raises as `load_weights` does."""
    embedded = f"{metadata_type.model_fields['name'].default}.onnx"
    if path is None:
        return f"embedded {embedded}", embedded_bytes(embedded)
    return str(path), read_file(path, str(path))


def network_name(path: Path) -> str:
    """Return the name of the network of a weights file, from its metadata; empty where they have none.

    Raises
    ------
    WeightsError
        The file is missing, damaged or not written by cspine.
    """
    metadata = _metadata_json(Session(read_file(path, str(path)), str(path), 1, "cpu"), str(path))
    return str(metadata.get("name")) if isinstance(metadata, dict) else ""


def embedded_bytes(name: str) -> bytes:
    """Return a file of the weights that are part of the package, such as ``levels.onnx``."""
    return resources.files("cspine.models").joinpath("embedded", name).read_bytes()


def read_file(path: Path, name: str) -> bytes:
    """Return the bytes of a weights file.

    Raises
    ------
    WeightsError
        The file cannot be read, or is too large; the message begins with `name`.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise WeightsError(f"{name}: is larger than {MAX_BYTES // 2**20} MiB, so it is no weights file of cspine")
        return path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{name}: cannot be read ({error.strerror}); check the path") from error


def _metadata(metadata_type: type[MetadataT], session: Session, name: str) -> MetadataT:
    metadata = _metadata_json(session, name)
    expected = metadata_type.model_fields["name"].default
    if isinstance(metadata, dict) and metadata.get("name", expected) != expected:
        raise WeightsError(f"{name}: holds another network than {expected}; name a file of that one")
    if isinstance(metadata, dict) and metadata.get("format") == 1:
        raise WeightsError(f"{name}: was written by cspine 0.1; train again with this version")
    try:
        return metadata_type.model_validate(metadata)
    except ValidationError as error:
        raise _invalid_metadata(name) from error


def _metadata_json(session: Session, name: str) -> Any:  # noqa: ANN401 - any JSON value
    text = session.metadata.get(METADATA_KEY)
    if text is None:
        raise WeightsError(f"{name}: has no metadata of cspine; use a file written by `cspine train`")
    try:
        return json.loads(text)
    except ValueError as error:
        raise _invalid_metadata(name) from error


def _invalid_metadata(name: str) -> WeightsError:
    return WeightsError(f"{name}: its metadata are not valid; use a file written by this version's `cspine train`")
