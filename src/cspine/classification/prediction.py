"""The prediction of a network for one compiled study, and what every classifier offers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from cspine.classification.saliency import EvidenceField
from cspine.core.anatomy import Level
from cspine.core.findings import CalibrationIdentity, PatientFinding, VertebraFinding, ViewEvidence, WeightsIdentity
from cspine.core.typing import Floats32, Grays
from cspine.localization.compiler import Compiler
from cspine.models.onnx_runtime import Session
from cspine.views.compiled import CompiledStudy


@dataclass(frozen=True)
class EvidencePicture:
    """A plane of a vertebra with its saliency map.

    Attributes
    ----------
    level : str
        Name of the vertebra, C1 to C7.
    evidence : ViewEvidence
        The point of the plane with the greatest saliency.
    image : (rows, columns) uint8
        Gray values of the plane with the evidence.
    strength : (rows / 8, columns / 8) float32
        The saliency map, 0 to 1.
    """

    level: Level
    evidence: ViewEvidence
    image: Grays
    strength: Floats32


@dataclass(frozen=True)
class NetworkPrediction:
    """The prediction of a network for one study.

    Attributes
    ----------
    patient : PatientFinding
        The finding of the patient.
    vertebrae : tuple of VertebraFinding
        The findings of C1 to C7.
    warnings : tuple of str
        Sentences about limitations of the weights.
    pictures : tuple of EvidencePicture
        The plane with the greatest saliency of each orientation for every scanned vertebra, from the head down; those
        of one vertebra strongest first.
    fields : dict
        Level to the saliency around the vertebra.
    """

    patient: PatientFinding
    vertebrae: tuple[VertebraFinding, ...]
    warnings: tuple[str, ...] = ()
    pictures: tuple[EvidencePicture, ...] = ()
    fields: Mapping[str, EvidenceField] = field(default_factory=dict, repr=False)


def synthetic_data_warning(*identities: WeightsIdentity | None) -> tuple[str, ...]:
    """Return the warning about weights that have learnt no fracture of a patient; nothing where all have.

    Parameters
    ----------
    *identities : WeightsIdentity or None
        All weights that took part; None is skipped.
    """
    known = [identity for identity in identities if identity is not None]
    if any(identity.phantom_only for identity in known):
        source = "were trained on phantoms only"
    elif any(identity.synthetic_only for identity in known):
        source = "have learnt fractures from phantoms and from virtual fractures in real CT, from no patient"
    else:
        return ()
    return (f"the weights {source}: the numbers show that the software works, nothing clinical",)


class Classifier(Protocol):
    """A network that classifies compiled studies."""

    @property
    def identity(self) -> WeightsIdentity:
        """What findings record of its weights."""

    @property
    def session(self) -> Session:
        """The session that runs it; of an ensemble, that of the first member."""

    @property
    def calibration(self) -> CalibrationIdentity | None:
        """What findings record of its calibration; None where its probabilities are not calibrated."""

    @property
    def compiler(self) -> Compiler:
        """The compiler of its input."""

    def predict(self, compiled: CompiledStudy) -> NetworkPrediction:
        """Predict the findings of a compiled study."""
