"""Initialization of a level network from pretrained weights, in place of random ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from google.protobuf.message import DecodeError

from cspine.core.errors import WeightsError
from cspine.models.metadata import LevelsMetadata
from cspine.models.registry import resolve_weights
from cspine.models.weights import load_weights, read_weights
from cspine.training.export import StateDict, export_onnx, read_parameters
from cspine.training.levels.network import LevelNetwork
from cspine.training.levels.onnx_graph import level_graph
from cspine.views.level_views import PLANES, LevelViewSettings

LEVELS: Final = "levels"

_NETWORK_PREFIX: Final = "network."
"""Prefix of the names of the network's parameters in a file."""

_ENCODER_PREFIX: Final = "encoder."

_BATCH_COUNTER: Final = "num_batches_tracked"
"""Suffix of the batch norms' counters, which are not exported; they have no effect with a fixed momentum."""

_FRACTURE_TYPE_HEAD: Final = "fracture_types."


@dataclass(frozen=True)
class PretrainedWeights:
    """Parameters of a trained level network.

    Attributes
    ----------
    metadata : LevelsMetadata
        Metadata of the file.
    sha256 : str
        Hash of the file.
    state : dict of str to Tensor
        Parameters and buffers, named as in `LevelNetwork`.
    """

    metadata: LevelsMetadata
    sha256: str
    state: StateDict

    def network(self, fracture_types: Sequence[str]) -> LevelNetwork:
        """Return a network with the parameters, and with outputs for these fracture types, in order."""
        network = LevelNetwork(len(fracture_types), half_mm=self.metadata.views.half_mm)
        self.load_into(network, fracture_types)
        return network

    def load_into(self, network: LevelNetwork, fracture_types: Sequence[str]) -> None:
        """Copy the parameters into a new network; in the head of fracture types, those of common types.

        Parameters
        ----------
        network : LevelNetwork
            A network of the default widths.
        fracture_types : sequence of str
            Its fracture types, in order.
        """
        common = [
            (target, self.metadata.fracture_types.index(name))
            for target, name in enumerate(fracture_types)
            if name in self.metadata.fracture_types
        ]
        state = network.state_dict()
        for name, value in self.state.items():
            if name.startswith(_FRACTURE_TYPE_HEAD):
                for target, source in common:
                    state[name][target] = value[source]
            else:
                state[name] = value
        network.load_state_dict(state)


def load_pretrained(weights: str | Path) -> PretrainedWeights:
    """Return the parameters in an ONNX file; reading them executes nothing.

    Parameters
    ----------
    weights : str or Path
        A name that `cspine weights` lists, or a file written by `cspine.training.export.export_onnx`.

    Raises
    ------
    WeightsError
        The weights are missing, damaged, of another network, or of an earlier version, which exported merged
        parameters.
    """
    network, path = resolve_weights(weights)
    if network != LEVELS:
        raise WeightsError(f"{weights}: holds the network {network}; name weights of {LEVELS}")
    loaded = load_weights(LevelsMetadata, path, provider="cpu")
    try:
        state = read_parameters(read_weights(LevelsMetadata, path)[1], _NETWORK_PREFIX)
    except (DecodeError, ValueError) as error:
        raise WeightsError(f"{weights}: its parameters cannot be read; get it again") from error
    network_state = LevelNetwork(len(loaded.metadata.fracture_types)).state_dict()
    shapes = {name: value.shape for name, value in network_state.items() if not name.endswith(_BATCH_COUNTER)}
    if any(name not in state or state[name].shape != shape for name, shape in shapes.items()):
        raise WeightsError(
            f"{weights}: does not hold the parameters of this version's network; use weights that this version wrote"
        )
    return PretrainedWeights(loaded.metadata, loaded.sha256, {name: state[name] for name in shapes})


def export_encoder(pretrained: PretrainedWeights, folder: Path, views: LevelViewSettings, *, seed: int = 0) -> Path:
    """Write weights with a pretrained encoder and a randomly initialized head, and return the file.

    Networks that are initialized with them differ by their own training, not by the training of the pretrained head.

    Parameters
    ----------
    pretrained : PretrainedWeights
        Source of the encoder.
    folder : Path
        Gets the file, whose name holds the weights' hash, the numbers of views and the seed; an existing one is kept.
    views : LevelViewSettings
        Numbers of views to train on; all other settings are those of the pretrained weights.
    seed : int
        Seed of the head.

    Raises
    ------
    DiskFullError, OutputError
        The file cannot be written.
    """
    counts: dict[str, int] = {plane: int(getattr(views, plane)) for plane in PLANES}
    path = folder / f"encoder-{pretrained.sha256[:12]}-{'-'.join(map(str, counts.values()))}-{seed}.onnx"
    if path.is_file():
        return path
    torch.manual_seed(seed)
    network = LevelNetwork(len(pretrained.metadata.fracture_types))
    encoder = {name: value for name, value in pretrained.state.items() if name.startswith(_ENCODER_PREFIX)}
    network.load_state_dict(encoder, strict=False)
    trained_on = f"encoder of {pretrained.sha256[:12]} ({pretrained.metadata.trained_on}), untrained head"
    metadata = pretrained.metadata.model_copy(
        update={
            "trained_on": trained_on,
            "views": pretrained.metadata.views.model_copy(update=counts),
            "inference_views": tuple(counts.values()),
        }
    )
    export_onnx(level_graph(network, metadata.views, metadata.inference_views), metadata, path)
    return path
