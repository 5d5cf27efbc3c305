"""Findings as a Comprehensive 3D structured report after TID 1500, Measurement Report."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import (
    CodeContentItem,
    CodedConcept,
    Comprehensive3DSR,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    LanguageOfContentItemAndDescendants,
    ObservationContext,
    RelationshipTypeValues,
)
from pydicom import Dataset
from pydicom.sr.codedict import codes

from cspine.core.anatomy import RESEARCH_USE_ONLY
from cspine.dicom.geometry import Stack
from cspine.reports.dicom.codes import (
    COMMENT,
    COMPUTED_TOMOGRAPHY,
    DERIVED_MEASUREMENTS,
    MEASUREMENTS,
    PRIVATE_SCHEME,
    QUALITATIVE_EVALUATIONS,
)
from cspine.reports.dicom.derived_series import REPORT
from cspine.reports.dicom.image_library import image_library
from cspine.reports.dicom.measurements import has_place, patient_group, vertebra_group, vertebra_item
from cspine.reports.dicom.provenance import provenance, text_item
from cspine.reports.dicom.report_context import ReportContext
from cspine.reports.dicom.source_images import SourceImages
from cspine.reports.remarks import remarks_of

_TITLE: Final = CodedConcept("126000", "DCM", "Imaging Measurement Report")
_PRIVATE_SCHEME_ITEM: Final = CodingSchemeIdentificationItem(
    PRIVATE_SCHEME, name="Concepts of cspine", responsible_organization="The cspine authors"
)
_ENGLISH: Final = CodedConcept("eng", "RFC5646", "English")


def structured_report(
    context: ReportContext, source: SourceImages, stack: Stack, *, previous: Sequence[Dataset] = ()
) -> Comprehensive3DSR:
    """Return the structured report.

    Imaging Measurements (126010) hold the suspicious vertebrae, each with the point of its strongest evidence in the
    slice and in the patient; viewers require coordinates of whatever lies there. The patient's result is a derived
    measurement (126011), and the other vertebrae are qualitative items. A fracture is coded as finding only of what is
    suspicious. What the result rests on, the disclaimer, warnings and reasons that limit it follow as texts.

    Parameters
    ----------
    context : ReportContext
        The findings, and the attributes that all objects share.
    source : SourceImages
        The slices from which the findings were made.
    stack : Stack
        Their geometry.
    previous : sequence of Dataset
        Reports of the same study that this one supersedes.
    """
    if context.findings.patient_overall is None:
        raise ValueError("a study that is not assessable has no structured report")
    return make_report(context, source, list(_content(context, source, stack)), previous)


def make_report(
    context: ReportContext, source: SourceImages, content: Sequence[ContentItem], previous: Sequence[Dataset]
) -> Comprehensive3DSR:
    """Return a preliminary, unverified report.

    Parameters
    ----------
    context, source, previous
        As of `structured_report`.
    content : sequence of ContentItem
        The items below the root, in the order of TID 1500.
    """
    root = ContainerContentItem(name=_TITLE, template_id="1500")
    root.ContentSequence = ContentSequence(content)
    return Comprehensive3DSR(
        evidence=list(source.datasets),
        content=root,
        is_complete=True,
        is_final=False,
        coding_schemes=[_PRIVATE_SCHEME_ITEM],
        previous_versions=list(previous) or None,
        **context.series_attributes(REPORT),
    )


def report_header(context: ReportContext) -> Iterator[ContentItem]:
    """Yield the items with which every report begins: language, observer and procedure."""
    yield from LanguageOfContentItemAndDescendants(_ENGLISH)
    yield from ObservationContext(observer_device_context=context.observer)
    yield CodeContentItem(
        codes.DCM.ProcedureReported, COMPUTED_TOMOGRAPHY, relationship_type=RelationshipTypeValues.HAS_CONCEPT_MOD
    )


def _content(context: ReportContext, source: SourceImages, stack: Stack) -> Iterator[ContentItem]:
    """Yield the items below the root, in the order of the template."""
    findings = context.findings
    yield from report_header(context)
    yield image_library(source, stack)
    placed = [vertebra for vertebra in findings.vertebrae if has_place(vertebra)]
    if placed:
        yield _container(MEASUREMENTS, [vertebra_group(context, source, vertebra)[0] for vertebra in placed])
    if findings.patient_overall is not None:
        yield _container(DERIVED_MEASUREMENTS, [patient_group(context, findings.patient_overall)[0]])
    others = [vertebra_item(vertebra) for vertebra in findings.vertebrae if not has_place(vertebra)]
    if others:
        yield _container(QUALITATIVE_EVALUATIONS, others)
    yield provenance(findings)
    yield from (text_item(COMMENT, text) for text in _comments(context, source))


def _container(name: CodedConcept, items: Sequence[Any]) -> ContainerContentItem:
    container = ContainerContentItem(name=name, relationship_type=RelationshipTypeValues.CONTAINS)
    container.ContentSequence = ContentSequence(items)
    return container


def _comments(context: ReportContext, source: SourceImages) -> Iterator[str]:
    findings = context.findings
    yield RESEARCH_USE_ONLY
    yield from findings.warnings
    yield from source.remarks
    yield from findings.patient_overall.reasons if findings.patient_overall else ()
    for vertebra in findings.vertebrae:
        yield from (f"{vertebra.level}: {reason}" for reason in remarks_of(vertebra))
