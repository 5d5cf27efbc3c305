"""What a result rests on, as content of the structured report: series, acquisition, software, weights, calibration."""

from collections.abc import Iterator
from typing import Final

from highdicom.sr import CodedConcept, ContainerContentItem, ContentSequence, RelationshipTypeValues, TextContentItem

from cspine.core.findings import Acquisition, CalibrationIdentity, Findings, WeightsIdentity
from cspine.reports.dicom.codes import (
    ACQUISITION,
    CALIBRATION,
    LOCALIZER,
    MODEL_CARD,
    PROVENANCE,
    SERIES_CHOICE,
    SOFTWARE,
    WEIGHTS,
)

MAX_TEXT_LENGTH: Final = 1000
"""Longer texts are truncated to this number of characters."""

_CONTAINS: Final = RelationshipTypeValues.CONTAINS


def provenance(findings: Findings) -> ContainerContentItem:
    """Return the container of texts that state what a result rests on."""
    container = ContainerContentItem(name=PROVENANCE, relationship_type=_CONTAINS)
    container.ContentSequence = ContentSequence([text_item(name, text) for name, text in _texts(findings)])
    return container


def text_item(name: CodedConcept, text: str) -> TextContentItem:
    """Return a text as a content item, truncated to `MAX_TEXT_LENGTH`."""
    return TextContentItem(name, text[:MAX_TEXT_LENGTH], relationship_type=_CONTAINS)


def _texts(findings: Findings) -> Iterator[tuple[CodedConcept, str]]:
    for reason in findings.series_reasons:
        yield SERIES_CHOICE, reason
    if findings.acquisition is not None:
        yield ACQUISITION, _describe_acquisition(findings.acquisition)
    yield SOFTWARE, f"{findings.software.name} {findings.software.version}, findings schema {findings.schema_version}"
    for concept, weights in ((WEIGHTS, findings.weights), (LOCALIZER, findings.localizer)):
        if weights is not None:
            yield concept, f"{weights.name}, SHA-256 {weights.sha256}"
            yield MODEL_CARD, _describe_training(weights)
    if findings.calibration is not None:
        yield CALIBRATION, _describe_calibration(findings.calibration)


def _describe_acquisition(acquisition: Acquisition) -> str:
    parts = [acquisition.manufacturer, f"kernel {acquisition.kernel}" if acquisition.kernel else None]
    parts.append(f"{acquisition.slices} slices" if acquisition.slices else None)
    for name, value_mm in (
        ("slice spacing", acquisition.slice_spacing_mm),
        ("slice thickness", acquisition.slice_thickness_mm),
        ("pixel spacing", acquisition.pixel_spacing_mm),
    ):
        parts.append(f"{name} {value_mm:g} mm" if value_mm is not None else None)
    return "; ".join(part for part in parts if part) or "not stated by the headers"


def _describe_training(weights: WeightsIdentity) -> str:
    """Return what findings record of a model card; the card itself lies beside the weights that training writes."""
    if weights.phantom_only:
        data = "trained on phantoms only, nothing clinical is known"
    elif weights.synthetic_only:
        data = "fractures learnt from phantoms and virtual fractures only, nothing clinical is known"
    else:
        data = "trained on patients"
    return f"{weights.name}: {data}; training data: {weights.trained_on}"


def _describe_calibration(calibration: CalibrationIdentity) -> str:
    parts = [f"fitted on {calibration.fitted_on}", f"assumed prevalence {calibration.prevalence:.4g}"]
    parts += [
        f"{point.name} from {point.level:.4g} for a level and {point.patient:.4g} for the patient ({point.target})"
        for point in calibration.points
    ]
    if calibration.points_sha256 is not None:
        parts.append(f"operating points of a file, SHA-256 {calibration.points_sha256}")
    return "; ".join(parts)
