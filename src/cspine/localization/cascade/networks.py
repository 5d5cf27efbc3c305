"""The three networks of a localizer, which are parts of one ONNX file."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from cspine.core.typing import Floats32
from cspine.localization.cascade.crops import CROP_SHAPE
from cspine.localization.cascade.region import SIDE_MULTIPLE
from cspine.models.metadata import LocalizerMetadata
from cspine.models.weights import Weights

INPUTS: Final = ("region", "image", "crops")
OUTPUTS: Final = ("regions", "probabilities", "positions", "levels", "voxels")
"""Names in the ONNX file: class probabilities of the region network; class probabilities and coordinates of the
vertebra network; class probabilities of the frame network, and of voxels the probability of the vertebra and the
position in it."""

_IDLE: Final[dict[str, Floats32]] = {
    "region": np.zeros((1, 2, SIDE_MULTIPLE, SIDE_MULTIPLE, SIDE_MULTIPLE), np.float32),
    "image": np.zeros((1, 2, SIDE_MULTIPLE, SIDE_MULTIPLE, SIDE_MULTIPLE), np.float32),
    "crops": np.zeros((0, 2, *CROP_SHAPE), np.float32),
}
"""Smallest inputs: ONNX Runtime runs all parts of a file, and those that are not asked get these, in milliseconds."""


@dataclass(frozen=True)
class LocalizerNetworks:
    """The networks of a localizer.

    Attributes
    ----------
    weights : Weights
        The loaded weights, with their metadata.
    """

    weights: Weights[LocalizerMetadata]

    @property
    def fits(self) -> bool:
        """Whether the file has the inputs and outputs of a localizer."""
        inputs = {name: len(shape) for name, shape in self.weights.session.input_shapes.items()}
        return set(self.weights.outputs) == set(OUTPUTS) and inputs == dict.fromkeys(INPUTS, 5)

    def find_regions(self, image: Floats32) -> Floats32:
        """Run the region network: (2, k, j, i) to class probabilities, (classes, k, j, i)."""
        (regions,) = self._run(("regions",), "region", image[None])
        return np.asarray(regions[0])

    def find_vertebrae(self, image: Floats32) -> tuple[Floats32, Floats32]:
        """Run the vertebra network: (2, k, j, i) to class probabilities and coordinates of the same voxels."""
        probabilities, positions = self._run(("probabilities", "positions"), "image", image[None])
        return probabilities[0], positions[0]

    def align_frames(self, crops: Floats32) -> tuple[Floats32, Floats32]:
        """Run the frame network: (n, 2, k, j, i) to class probabilities, (n, classes), and voxels, (n, 4, k, j, i)."""
        levels, voxels = self._run(("levels", "voxels"), "crops", crops)
        return levels, voxels

    def _run(self, outputs: tuple[str, ...], name: str, values: Floats32) -> list[Floats32]:
        return self.weights.session.run(list(outputs), {**_IDLE, name: values})
