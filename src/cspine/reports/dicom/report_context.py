"""What all DICOM objects of a study share: equipment, algorithm, observer, time of creation and derived UIDs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Final

from highdicom import UID, AlgorithmIdentificationSequence
from highdicom.sr import AlgorithmIdentification, DeviceObserverIdentifyingAttributes, ObserverContext
from highdicom.sr.coding import CodedConcept
from pydicom import Dataset

from cspine.classification.result import CaseResult
from cspine.core.anatomy import RESEARCH_USE_ONLY
from cspine.core.findings import Findings
from cspine.core.identifiers import derived_uid
from cspine.reports.dicom.codes import ARTIFICIAL_INTELLIGENCE
from cspine.reports.dicom.derived_series import DerivedSeries
from cspine.reports.dicom.source_images import UTF_8, SourceImages
from cspine.reports.result_digest import pixel_digest, result_digest, slice_names

MANUFACTURER: Final = "cspine"
MODEL_NAME: Final = "cspine"
_DEVICE: Final = CodedConcept("121007", "DCM", "Device")

_SERIAL_NUMBER_LENGTH: Final = 16
"""Hexadecimal digits of the weights' SHA-256 that stand as device serial number."""


@dataclass(frozen=True)
class ReportContext:
    """The findings that DICOM objects encode, and what their UIDs are derived from.

    Attributes
    ----------
    findings : Findings
        Findings of an assessable study.
    created_at : datetime
        Content and series date and time of all objects of the study.
    images : tuple of str
        The slices that were read, as of `cspine.reports.result_digest.slice_names`.
    pixels : str
        Hash of their decoded pixels, as of `cspine.reports.result_digest.pixel_digest`.
    revision : int
        Raised where the objects of the same input, weights and settings were rejected before, since a rejected object
        does not come back under its UID.
    """

    findings: Findings
    created_at: datetime
    images: tuple[str, ...] = field(default=(), repr=False)
    pixels: str = ""
    revision: int = 0

    @classmethod
    def of(cls, case_result: CaseResult, source: SourceImages, created_at: datetime) -> "ReportContext":
        """Return the context of a result that was made from slices."""
        return cls(case_result.findings, created_at, slice_names(source.headers), pixel_digest(case_result))

    @cached_property
    def result_digest(self) -> str:
        """Hash of what the result depends on (`cspine.reports.result_digest.result_digest`)."""
        return result_digest(self.findings, self.images, self.pixels, revision=self.revision)

    def uid(self, *parts: str) -> UID:
        """Return a UID that is the same whenever the same result is written again."""
        return UID(derived_uid("cspine", self.result_digest, *parts))

    def series_attributes(
        self, series: DerivedSeries, *, instance_number: int = 1, variant: str = ""
    ) -> dict[str, Any]:
        """Return highdicom's keyword arguments for an instance of a series.

        Parameters
        ----------
        series : DerivedSeries
            The kind of object.
        instance_number : int
            InstanceNumber within the series.
        variant : str
            The encoding, where there are several: objects that differ in it have different UIDs.
        """
        return {
            "series_instance_uid": self.uid(series.name, variant),
            "series_number": series.number,
            "series_description": series.description,
            "sop_instance_uid": self.uid(series.name, variant, str(instance_number)),
            "instance_number": instance_number,
            "manufacturer": MANUFACTURER,
            "manufacturer_model_name": MODEL_NAME,
            "software_versions": self.findings.software.version,
            "device_serial_number": self.findings.weights.sha256[:_SERIAL_NUMBER_LENGTH],
            "content_date": self.created_at.date(),
            "content_time": self.created_at.time(),
            "series_date": self.created_at.date(),
            "series_time": self.created_at.time(),
            "specific_character_set": UTF_8,
        }

    def set_dimension_uid(self, dataset: Dataset, series: DerivedSeries, *, variant: str = "") -> None:
        """Give the dimensions of a multi-frame object a derived UID in place of highdicom's random one."""
        uid = self.uid(series.name, variant, "dimensions")
        for keyword in ("DimensionOrganizationSequence", "DimensionIndexSequence"):
            for item in dataset.get(keyword) or ():
                item.DimensionOrganizationUID = uid

    @property
    def parameters(self) -> Sequence[str]:
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
        """The software as device observer (TID 1002); its UID is that of the software with these weights."""
        weights = self.findings.weights.sha256
        return ObserverContext(
            observer_type=_DEVICE,
            observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
                uid=UID(derived_uid("cspine device", self.findings.software.version, weights)),
                name="cspine",
                manufacturer_name=MANUFACTURER,
                model_name=MODEL_NAME,
                serial_number=weights[:_SERIAL_NUMBER_LENGTH],
            ),
        )
