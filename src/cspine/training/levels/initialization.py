"""Weights that a level network's training starts from, in place of random ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError
from onnx import numpy_helper

from cspine.core.errors import WeightsError
from cspine.models.metadata import LevelsMetadata
from cspine.models.registry import resolve
from cspine.models.weights import load_weights, read_weights
from cspine.training.export import HALF, export_onnx
from cspine.training.levels.network import LevelNetwork
from cspine.training.levels.onnx_graph import level_graph
from cspine.views.level_views import PLANES, LevelViewSettings

State = dict[str, torch.Tensor]

LEVELS: Final = "levels"

_NETWORK: Final = "network."
"""Begins the names of the network's own parameters in a file."""

_COUNTER: Final = "num_batches_tracked"
"""Of batch norms; told in no file, and of no use with a fixed momentum."""

_FRACTURE_TYPES: Final = "fracture_types."

_STORED: Final = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)


@dataclass(frozen=True)
class PretrainedWeights:
    """Parameters of a trained network.

    Attributes
    ----------
    metadata : LevelsMetadata
        What the file says of itself.
    sha256 : str
        Of the file.
    state : dict of str to Tensor
        Named as in `LevelNetwork`.
    """

    metadata: LevelsMetadata
    sha256: str
    state: State

    def fill(self, network: LevelNetwork, fracture_types: Sequence[str]) -> None:
        """Put the parameters into a new network; of kinds of fracture, those that both know.

        Parameters
        ----------
        network : LevelNetwork
            Of the usual widths.
        fracture_types : sequence of str
            That it tells apart.
        """
        known = [
            (place, self.metadata.fracture_types.index(kind))
            for place, kind in enumerate(fracture_types)
            if kind in self.metadata.fracture_types
        ]
        state = network.state_dict()
        for name, value in self.state.items():
            if name.startswith(_FRACTURE_TYPES):
                for place, told in known:
                    state[name][place] = value[told]
            else:
                state[name] = value
        network.load_state_dict(state)


def load_pretrained(weights: str | Path) -> PretrainedWeights:
    """Return the parameters that weights hold; reading them runs nothing from the file.

    Parameters
    ----------
    weights : str or Path
        A name that `cspine weights` lists, or a file written by `cspine.training.export.export_onnx`.

    Raises
    ------
    WeightsError
        They are missing, damaged, of another network, or of an earlier version, whose files held parameters merged.
    """
    network, path = resolve(weights)
    if network != LEVELS:
        raise WeightsError(f"{weights}: holds the network {network}; name weights of {LEVELS}")
    loaded = load_weights(LevelsMetadata, path)
    try:
        state = _parameters(read_weights(LevelsMetadata, path)[1])
    except (DecodeError, ValueError) as error:
        raise WeightsError(f"{weights}: its parameters cannot be read; get it again") from error
    wanted = {
        name: value.shape for name, value in LevelNetwork(len(loaded.metadata.fracture_types)).state_dict().items()
    }
    needed = {name: shape for name, shape in wanted.items() if not name.endswith(_COUNTER)}
    if any(name not in state or state[name].shape != shape for name, shape in needed.items()):
        raise WeightsError(
            f"{weights}: does not hold the parameters of this version's network; "
            "start from weights that this version wrote"
        )
    return PretrainedWeights(loaded.metadata, loaded.sha256, {name: state[name] for name in needed})


def export_encoder(start: PretrainedWeights, folder: Path, views: LevelViewSettings, *, seed: int = 0) -> Path:
    """Write weights whose encoder is that of others and whose head knows nothing; return the file.

    Networks that begin with them differ by what their own training shows them, not by what the other head learnt from.

    Parameters
    ----------
    start : Start
        Has the encoder.
    folder : Path
        Gets the file, named by the weights, how many views there are and the seed; where it is there already, it stays.
    views : LevelViewSettings
        How many views the network is to be trained on; all else of how they are cut is as the encoder saw them.
    seed : int
        Of the head.

    Raises
    ------
    DiskFullError, OutputError
    """
    counts: dict[str, int] = {plane: int(getattr(views, plane)) for plane in PLANES}
    path = folder / f"encoder-{start.sha256[:12]}-{'-'.join(map(str, counts.values()))}-{seed}.onnx"
    if path.is_file():
        return path
    torch.manual_seed(seed)
    network = LevelNetwork(len(start.metadata.fracture_types))
    prefix = "encoder."
    network.load_state_dict({n: v for n, v in start.state.items() if n.startswith(prefix)}, strict=False)
    told = f"an encoder of {start.sha256[:12]} ({start.metadata.trained_on}), a head of nothing"
    seen = start.metadata.views.model_copy(update=counts)
    metadata = start.metadata.model_copy(
        update={"trained_on": told, "views": seen, "inference_views": tuple(counts.values())}
    )
    export_onnx(level_graph(network, metadata.views, metadata.inference_views), metadata, path)
    return path


def _parameters(data: bytes) -> State:
    """Return a file's tensors in single precision, by the names that they had in training."""
    found = {}
    for tensor in onnx.load_model_from_string(data).graph.initializer:
        stored = tensor.data_location != onnx.TensorProto.EXTERNAL and tensor.data_type in _STORED
        if stored and tensor.name.startswith(_NETWORK):
            value = numpy_helper.to_array(tensor).astype(np.float32)
            found[tensor.name.removeprefix(_NETWORK).removesuffix(HALF)] = torch.from_numpy(value)
    return found
