"""What all DICOM objects of a study share: equipment, algorithm, observer and time of creation."""

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
_DEVICE: Final = CodedConcept("121007", "DCM", "Device")

_SERIAL_NUMBER_LENGTH: Final = 16
"""Hexadecimal digits of the weights' SHA-256 that stand as device serial number."""


@dataclass(frozen=True)
class ReportContext:
    """The findings that DICOM objects encode, and the time of their creation.

    Attributes
    ----------
    findings : Findings
        Findings of an assessable study.
    created_at : datetime
        Content and series date and time of all objects of the study.
    """

    findings: Findings
    created_at: datetime

    def series_attributes(self, number: int, description: str) -> dict[str, Any]:
        """Return highdicom's keyword arguments for the first instance of a new series.

        Parameters
        ----------
        number : int
            SeriesNumber of the derived series.
        description : str
            SeriesDescription; "(RESEARCH USE ONLY)" is appended.
        """
        return {
            "series_instance_uid": UID(),
            "series_number": number,
            "series_description": f"{description} (RESEARCH USE ONLY)",
            "sop_instance_uid": UID(),
            "instance_number": 1,
            "manufacturer": MANUFACTURER,
            "manufacturer_model_name": "cspine",
            "software_versions": self.findings.software.version,
            "device_serial_number": self.findings.weights.sha256[:_SERIAL_NUMBER_LENGTH],
            "content_date": self.created_at.date(),
            "content_time": self.created_at.time(),
            "series_date": self.created_at.date(),
            "series_time": self.created_at.time(),
            "specific_character_set": UTF_8,
        }

    @property
    def parameters(self) -> list[str]:
        """The algorithm parameters: weights, localizer and test-time augmentation."""
        weights, localizer = self.findings.weights, self.findings.localizer
        parameters = [f"weights {weights.name} sha256 {weights.sha256}", f"weights trained on {weights.trained_on}"]
        if localizer is not None:
            parameters.append(f"localizer {localizer.name} sha256 {localizer.sha256}")
        augmentation = "left-right flip" if self.findings.test_time_augmentation else "none"
        return [*parameters, f"test-time augmentation {augmentation}", RESEARCH_USE_ONLY]

    @property
    def algorithm(self) -> AlgorithmIdentification:
        """The algorithm identification of measurement groups (TID 4019)."""
        return AlgorithmIdentification(
            name="cspine",
            version=self.findings.software.version,
            parameters=self.parameters,
            family=ARTIFICIAL_INTELLIGENCE,
            manufacturer=MANUFACTURER,
        )

    @property
    def segmentation_algorithm(self) -> AlgorithmIdentificationSequence:
        """The algorithm identification of segments."""
        return AlgorithmIdentificationSequence(
            name="cspine", family=ARTIFICIAL_INTELLIGENCE, version=self.findings.software.version
        )

    @property
    def observer(self) -> ObserverContext:
        """The software as device observer (TID 1002)."""
        return ObserverContext(
            observer_type=_DEVICE,
            observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
                uid=UID(),
                name="cspine",
                manufacturer_name=MANUFACTURER,
                model_name="cspine",
                serial_number=self.findings.weights.sha256[:_SERIAL_NUMBER_LENGTH],
            ),
        )
