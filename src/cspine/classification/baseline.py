"""The notebook's network, as weights that run."""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from cspine.classification.prediction import NetworkPrediction
from cspine.core.anatomy import TARGETS, VERTEBRAE
from cspine.core.errors import WeightsError
from cspine.core.findings import PatientFinding, SagittalEvidence, VertebraFinding, WeightsIdentity
from cspine.datasets.compiled import shrink
from cspine.localization.compiler import Compiler
from cspine.localization.localizer import Localizer
from cspine.metrics.rsna2022 import unweighted
from cspine.models.metadata import BaselineMetadata
from cspine.models.weights import Weights, load_weights
from cspine.views.compiled import CompiledStudy, CompiledVolume
from cspine.views.sagittal import SagittalSet

NOT_LOCALISED: Final = (
    "these weights do not localise vertebrae: whether C1 to C7 are in the field of view was not checked"
)


@dataclass(frozen=True)
class Baseline:
    """One compiled image to eight outputs."""

    weights: Weights[BaselineMetadata]

    @classmethod
    def load(cls, path: Path | None = None) -> "Baseline":
        """Load the network; the embedded one where no path is given.

        Raises
        ------
        WeightsError
            The file cannot be used.
        """
        weights = load_weights(BaselineMetadata, path)
        size = weights.metadata.image_size
        if weights.input_shape[1:] != (1, size, size) or weights.metadata.targets != TARGETS:
            raise WeightsError(f"{path or weights.metadata.name}: its network does not fit its own card; get it again")
        return cls(weights)

    @property
    def identity(self) -> WeightsIdentity:
        """What findings say of the weights."""
        return self.weights.identity

    @property
    def metadata(self) -> BaselineMetadata:
        """What the weights say of themselves."""
        return self.weights.metadata

    @property
    def calibration(self) -> None:
        """Nothing: its numbers are as the network gives them."""

    @property
    def compiler(self) -> Compiler:
        """How studies are compiled for it; the notebook's network sees straight images, and localises nothing."""
        return Compiler(self.metadata.images, Localizer.load() if self.metadata.spine_aligned else None)

    def predict(self, compiled: CompiledStudy) -> NetworkPrediction:
        """Say what is found in a study: the mean over its images, and for each level the one that says most."""
        per_image = self._per_image(compiled.sagittal)
        overall, *levels = study_probabilities(per_image).tolist()
        strongest = per_image[:, 1:].argmax(axis=0)
        vertebrae = tuple(
            VertebraFinding(
                level=level,
                probability=probability,
                raw_probability=probability,
                evidence=(
                    SagittalEvidence(
                        image=int(image),
                        x_lps_mm=float(compiled.sagittal.x_lps_mm[image]),
                        probability=float(per_image[image, 1 + number]),
                    ),
                ),
                reasons=("not localised by these weights",),
            )
            for number, (level, probability, image) in enumerate(zip(VERTEBRAE, levels, strongest, strict=True))
        )
        patient = PatientFinding(probability=overall, raw_probability=overall)
        return NetworkPrediction(patient, vertebrae, warnings=(NOT_LOCALISED,))

    def probabilities(self, images: CompiledVolume) -> npt.NDArray[np.float64]:
        """Return what `read` says of images, (8,): the patient, then C1 to C7."""
        return study_probabilities(self._per_image(images.sagittal))

    def _per_image(self, sagittal: SagittalSet) -> npt.NDArray[np.float64]:
        """Return what is said of images that have gone through JPEG, as in training."""
        quality = self.metadata.sagittal.jpeg_quality
        return self.image_probabilities(
            np.stack([np.asarray(Image.open(BytesIO(data))) for data in sagittal.jpegs(quality)])
        )

    def image_probabilities(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        """Return plain probabilities per image.

        A network trained with positives weighted w times settles at p' = wp / (1 + (w - 1)p); this gives p back, so
        that the number reads as a probability. The challenge's metric wants p' again: `cspine submit --transform`.

        Parameters
        ----------
        images : (n, rows, rows) uint8
            Compiled images of any size.

        Returns
        -------
        (n, 8) float
            Columns `TARGETS`.
        """
        small = np.stack([shrink(image, self.metadata.image_size) for image in images])
        return np.asarray(unweighted(self.run(small), positive_weight=self.metadata.positive_weight))

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


def study_probabilities(per_image: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return a study's probabilities: the mean over its images, (n, 8) to (8,)."""
    return np.asarray(per_image.mean(axis=0))
