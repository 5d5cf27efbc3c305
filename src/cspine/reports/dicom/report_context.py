"""What all written objects have in common: who made them, in which series they lie."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from highdicom import UID, AlgorithmIdentificationSequence
from highdicom.sr import AlgorithmIdentification, DeviceObserverIdentifyingAttributes, ObserverContext
from highdicom.sr.coding import CodedConcept

from cspine.core.anatomy import RESEARCH_USE_ONLY
from cspine.core.findings import Findings
from cspine.reports.dicom.codes import ARTIFICIAL_INTELLIGENCE
from cspine.reports.dicom.source_images import UTF_8

MANUFACTURER: Final = "cspine"
_OBSERVER: Final = CodedConcept("121007", "DCM", "Device")
_SHORT: Final = 16


@dataclass(frozen=True)
class ReportContext:
    """How objects of a study are made: by what, and when.

    Attributes
    ----------
    findings : Findings
        That they tell.
    when : datetime
        Of all objects of a study.
    """

    findings: Findings
    when: datetime

    def series(self, number: int, description: str) -> dict[str, Any]:
        """Return what highdicom is told of a new series: a UID of its own, number, and that it is for research only."""
        return {
            "series_instance_uid": UID(),
            "series_number": number,
            "series_description": f"{description} (RESEARCH USE ONLY)",
            "sop_instance_uid": UID(),
            "instance_number": 1,
            "manufacturer": MANUFACTURER,
            "manufacturer_model_name": "cspine",
            "software_versions": self.findings.software.version,
            "device_serial_number": self.findings.weights.sha256[:_SHORT],
            "content_date": self.when.date(),
            "content_time": self.when.time(),
            "series_date": self.when.date(),
            "series_time": self.when.time(),
            "specific_character_set": UTF_8,
        }

    @property
    def parameters(self) -> list[str]:
        """What the findings depend on beside the software."""
        found, weights, localizer = self.findings, self.findings.weights, self.findings.localizer
        told = [f"weights {weights.name} sha256 {weights.sha256}", f"weights trained on {weights.trained_on}"]
        if localizer is not None:
            told.append(f"localizer {localizer.name} sha256 {localizer.sha256}")
        return [*told, f"flips {found.test_time_augmentation}", RESEARCH_USE_ONLY]

    @property
    def algorithm(self) -> AlgorithmIdentification:
        """TID 4019."""
        return AlgorithmIdentification(
            name="cspine",
            version=self.findings.software.version,
            parameters=self.parameters,
            family=ARTIFICIAL_INTELLIGENCE,
            manufacturer=MANUFACTURER,
        )

    @property
    def algorithm_of_segments(self) -> AlgorithmIdentificationSequence:
        """The same, as segmentations tell it."""
        return AlgorithmIdentificationSequence(
            name="cspine", family=ARTIFICIAL_INTELLIGENCE, version=self.findings.software.version
        )

    @property
    def observer(self) -> ObserverContext:
        """The software as what has observed (TID 1002)."""
        return ObserverContext(
            observer_type=_OBSERVER,
            observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
                uid=UID(),
                name="cspine",
                manufacturer_name=MANUFACTURER,
                model_name="cspine",
                serial_number=self.findings.weights.sha256[:_SHORT],
            ),
        )
