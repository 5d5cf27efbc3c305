"""Weights: an ONNX file that says of itself what it is, what it has seen, and how its input is made.

Loading runs nothing from the file but its graph, and never goes to the network.
"""

import hashlib
import json
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import onnxruntime
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cspine.anatomy import TARGETS
from cspine.errors import WeightsError
from cspine.findings import WeightsIdentity
from cspine.reformat.sagittal import SagittalSettings

METADATA_KEY: Final = "cspine"
"""Where in the ONNX file's metadata the card lies."""

MAX_BYTES: Final = 512 * 2**20
_EMBEDDED: Final = "baseline-cnn.onnx"


class WeightsCard(BaseModel):
    """What weights say of themselves; kept inside the ONNX file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    name: str = Field(description="The network's name, such as baseline-cnn.")
    trained_on: str = Field(description="What the weights have seen, for people.")
    phantom_only: bool = Field(description="Whether they have seen nothing but phantoms.")
    software: str = Field(description="Version of cspine that trained them.")
    image_size: int = Field(ge=16, le=1024, description="Rows and columns of the input.")
    sagittal: SagittalSettings = Field(description="How the images they saw were compiled.")
    targets: tuple[str, ...] = Field(TARGETS, description="What the outputs are, in order.")
    positive_weight: float = Field(
        2.0, gt=0.0, description="Weight of positives in training; taken out again to give plain probabilities."
    )
    prevalence: tuple[float, ...] = Field(description="Fraction of positive studies per target in training.")
    best_constants: tuple[float, ...] = Field(description="Per target, the constant with the least loss in training.")
    training: dict[str, Any] = Field(description="Settings of the training.")
    settings_hash: str = Field(description="Hash of the training's and the compiling's settings.")
    data_hash: str = Field(description="Hash of the studies and labels trained on.")
    statement: str = Field(description="What they may be used for.")


@dataclass(frozen=True)
class Weights:
    """Weights that are loaded and checked.

    Attributes
    ----------
    card : WeightsCard
        What they say of themselves.
    sha256 : str
        Of the file.
    """

    card: WeightsCard
    sha256: str
    session: onnxruntime.InferenceSession = field(repr=False)

    @property
    def identity(self) -> WeightsIdentity:
        """What findings say of the weights."""
        return WeightsIdentity(name=self.card.name, sha256=self.sha256, trained_on=self.card.trained_on)

    def run(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        """Return the network's own outputs.

        Parameters
        ----------
        images : (n, size, size) uint8

        Returns
        -------
        (n, 8) float
            Sigmoids as trained, with positives weighted.
        """
        batch = (images[:, None].astype(np.float32)) / np.float32(255.0)
        return np.asarray(self.session.run(None, {self.session.get_inputs()[0].name: batch})[0], dtype=np.float64)


def load_weights(path: Path | None = None, *, threads: int = 0) -> Weights:
    """Load weights from a file, or those that come with cspine.

    Parameters
    ----------
    path : Path, optional
        An ONNX file written by `cspine train`; the embedded phantom-trained weights where omitted.
    threads : int
        Threads of ONNX Runtime; 0 leaves it the choice.

    Raises
    ------
    WeightsError
        The file is missing, damaged, or not written by cspine.
    """
    name = str(path) if path else f"embedded {_EMBEDDED}"
    data = _read(path, name)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise WeightsError(
            f"{name}: is not an ONNX file that can be run; get it again or train with `cspine train`"
        ) from error
    card = _card(session, name)
    shape = session.get_inputs()[0].shape
    if list(shape[1:]) != [1, card.image_size, card.image_size] or card.targets != TARGETS:
        raise WeightsError(f"{name}: its network does not fit its own card; get the file again")
    return Weights(card, hashlib.sha256(data).hexdigest(), session)


def _read(path: Path | None, name: str) -> bytes:
    if path is None:
        return resources.files("cspine.detect").joinpath("embedded", _EMBEDDED).read_bytes()
    try:
        if path.stat().st_size > MAX_BYTES:
            raise WeightsError(f"{name}: is larger than {MAX_BYTES // 2**20} MiB; it is no file of ours")
        return path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{name}: cannot be read ({error.strerror}); check the path") from error


def _card(session: onnxruntime.InferenceSession, name: str) -> WeightsCard:
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    if text is None:
        raise WeightsError(f"{name}: carries no card of cspine; use a file written by `cspine train`")
    try:
        return WeightsCard.model_validate(json.loads(text))
    except (ValidationError, ValueError) as error:
        raise WeightsError(
            f"{name}: its card is not valid; use a file written by this version's `cspine train`"
        ) from error
