"""The baseline: the notebook's network, which classifies sagittal images without localization."""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from cspine.classification.prediction import NetworkPrediction
from cspine.core.anatomy import TARGETS, VERTEBRAE
from cspine.core.findings import PatientFinding, SagittalEvidence, VertebraFinding, WeightsIdentity
from cspine.core.typing import Floats, Grays
from cspine.localization.compiler import Compiler
from cspine.localization.localizer import Localizer
from cspine.metrics.rsna2022 import remove_positive_weight
from cspine.models.metadata import BaselineMetadata
from cspine.models.onnx_runtime import Session
from cspine.models.providers import ProviderName
from cspine.models.weights import Weights, load_weights
from cspine.views.compiled import CompiledStudy, CompiledVolume
from cspine.views.resize import downscale
from cspine.views.sagittal import SagittalSet

NOT_LOCALIZED_WARNING: Final = (
    "these weights do not localize vertebrae: whether C1 to C7 are in the field of view was not checked"
)


@dataclass(frozen=True)
class Baseline:
    """The notebook's network: one sagittal image to eight outputs; a study's probabilities are means over its images.

    Attributes
    ----------
    weights : Weights
        The loaded weights of the network, with their metadata.
    """

    weights: Weights[BaselineMetadata]

    @classmethod
    def load(cls, path: Path | None = None, *, provider: ProviderName | None = None) -> "Baseline":
        """Load a baseline.

        Parameters and errors are those of `cspine.models.weights.load_weights`.
        """
        weights = load_weights(BaselineMetadata, path, provider=provider)
        size = weights.metadata.image_size
        weights.require(weights.input_shape[1:] == (1, size, size) and weights.metadata.targets == TARGETS, path)
        return cls(weights)

    @property
    def identity(self) -> WeightsIdentity:
        """What findings record of the weights."""
        return self.weights.identity

    @property
    def session(self) -> Session:
        """The session that runs the network."""
        return self.weights.session

    @property
    def metadata(self) -> BaselineMetadata:
        """The metadata of the weights."""
        return self.weights.metadata

    @property
    def calibration(self) -> None:
        """None: its probabilities are not calibrated."""

    @property
    def compiler(self) -> Compiler:
        """The compiler of its input; without localization where the training images were parallel planes."""
        return Compiler(self.metadata.images, Localizer.load() if self.metadata.spine_aligned else None)

    def predict(self, compiled: CompiledStudy) -> NetworkPrediction:
        """Predict the findings of a compiled study; the evidence for a level is its image with most probability."""
        per_image = self._probabilities_per_image(compiled.sagittal)
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
                reasons=("not localized by these weights",),
            )
            for number, (level, probability, image) in enumerate(zip(VERTEBRAE, levels, strongest, strict=True))
        )
        patient = PatientFinding(probability=overall, raw_probability=overall)
        return NetworkPrediction(patient, vertebrae, warnings=(NOT_LOCALIZED_WARNING,))

    def predict_probabilities(self, images: CompiledVolume) -> Floats:
        """Return the probabilities of a compiled volume, (8,): patient, then C1 to C7."""
        return study_probabilities(self._probabilities_per_image(images.sagittal))

    def _probabilities_per_image(self, sagittal: SagittalSet) -> Floats:
        """Return the probabilities of images after JPEG compression, as in training."""
        jpegs = sagittal.jpegs(self.metadata.sagittal.jpeg_quality)
        return self.image_probabilities(np.stack([np.asarray(Image.open(BytesIO(data))) for data in jpegs]))

    def image_probabilities(self, images: Grays) -> Floats:
        """Return the probabilities of each image, without the training's weight of positives.

        A network that is trained with positives weighted w times converges to p' = wp / (1 + (w - 1)p); this returns p.
        The challenge's metric is optimal at p': ``cspine submit --transform``.

        Parameters
        ----------
        images : (n, rows, rows) uint8
            Compiled images of any size.

        Returns
        -------
        (n, 8) float
            Columns `TARGETS`.
        """
        small = np.stack([downscale(image, self.metadata.image_size) for image in images])
        return np.asarray(remove_positive_weight(self.run(small), positive_weight=self.metadata.positive_weight))

    def run(self, images: Grays) -> Floats:
        """Return the network's outputs.

        Parameters
        ----------
        images : (n, size, size) uint8
            Images of the network's input size.

        Returns
        -------
        (n, 8) float
            Sigmoids as trained, with positives weighted.
        """
        batch = (images[:, None].astype(np.float32)) / np.float32(255.0)
        session = self.weights.session
        return np.asarray(session.run(None, {next(iter(session.input_shapes)): batch})[0], dtype=np.float64)


def study_probabilities(per_image: Floats) -> Floats:
    """Return the probabilities of a study: the means over its images, (n, 8) to (8,)."""
    return np.asarray(per_image.mean(axis=0))
