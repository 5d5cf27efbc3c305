"""The notebook's network, as weights that run."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cspine.anatomy import TARGETS
from cspine.detect.card import BaselineCard
from cspine.detect.weights import Weights, load_weights
from cspine.errors import WeightsError


@dataclass(frozen=True)
class Baseline:
    """One compiled image to eight outputs."""

    weights: Weights[BaselineCard]

    @classmethod
    def load(cls, path: Path | None = None) -> "Baseline":
        """Load the network; the embedded one where no path is given.

        Raises
        ------
        WeightsError
            The file cannot be used.
        """
        weights = load_weights(BaselineCard, path)
        size = weights.card.image_size
        if weights.input_shape[1:] != (1, size, size) or weights.card.targets != TARGETS:
            raise WeightsError(f"{path or weights.card.name}: its network does not fit its own card; get it again")
        return cls(weights)

    @property
    def card(self) -> BaselineCard:
        """What the weights say of themselves."""
        return self.weights.card

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
        session = self.weights.session
        return np.asarray(session.run(None, {session.get_inputs()[0].name: batch})[0], dtype=np.float64)
