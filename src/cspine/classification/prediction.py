"""What a network says of one compiled study."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from cspine.classification.saliency import EvidenceField
from cspine.core.anatomy import Level
from cspine.core.findings import CalibrationIdentity, PatientFinding, VertebraFinding, ViewEvidence, WeightsIdentity
from cspine.localization.compiler import Compiler
from cspine.views.compiled import CompiledStudy


@dataclass(frozen=True)
class EvidencePicture:
    """A vertebra's view with what speaks for a fracture in it.

    Attributes
    ----------
    level : str
    evidence : ViewEvidence
        The strongest place.
    image : (rows, columns) uint8
        The plane that speaks most for a fracture.
    strength : (rows / 8, columns / 8) float
        How broken each cell is found, 0 to 1.
    """

    level: Level
    evidence: ViewEvidence
    image: npt.NDArray[np.uint8]
    strength: npt.NDArray[np.float32]


@dataclass(frozen=True)
class NetworkPrediction:
    """What is said of a study, with what it is seen from.

    Attributes
    ----------
    pictures : tuple of EvidencePicture
        Of every vertebra that was looked at, from the head down; of each the strongest of each plane first.
    fields : dict
        Level to how broken each place about it is found.
    """

    patient: PatientFinding
    vertebrae: tuple[VertebraFinding, ...]
    warnings: tuple[str, ...] = ()
    pictures: tuple[EvidencePicture, ...] = ()
    fields: Mapping[str, EvidenceField] = field(default_factory=dict, repr=False)


def phantom_only_warning(*identities: WeightsIdentity | None) -> tuple[str, ...]:
    """Return the warning that weights deserve of which some have seen phantoms only."""
    if not any(identity is not None and identity.phantom_only for identity in identities):
        return ()
    return ("the weights have seen phantoms only: the numbers show that the machinery works, nothing clinical",)


class Classifier(Protocol):
    """A network that reads compiled studies."""

    @property
    def identity(self) -> WeightsIdentity:
        """What findings say of its weights."""

    @property
    def calibration(self) -> CalibrationIdentity | None:
        """What findings say of how its numbers became probabilities; None where they did not."""

    @property
    def compiler(self) -> Compiler:
        """How studies are compiled for it."""

    def predict(self, compiled: CompiledStudy) -> NetworkPrediction:
        """Say what is found in a study."""
