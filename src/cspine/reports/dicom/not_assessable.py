"""The structured report of a study that is not assessable: which code, why, and what would help."""

from collections.abc import Iterator, Sequence
from typing import Final

from highdicom.sr import (
    CodeContentItem,
    CodedConcept,
    Comprehensive3DSR,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    RelationshipTypeValues,
    TextContentItem,
)
from pydicom import Dataset

from cspine.core.anatomy import RESEARCH_USE_ONLY
from cspine.core.findings import NotAssessable
from cspine.core.not_assessable import remedy_of
from cspine.reports.dicom.codes import ASSESSMENT, COMMENT, NOT_ASSESSED, PRIVATE_SCHEME, QUALITATIVE_EVALUATIONS
from cspine.reports.dicom.provenance import provenance, text_item
from cspine.reports.dicom.report_context import ReportContext
from cspine.reports.dicom.source_images import SourceImages
from cspine.reports.dicom.structured_report import make_report, report_header

_CODE: Final = CodedConcept("not-assessable", PRIVATE_SCHEME, "Code of the reason why the study is not assessable")
_REASON: Final = CodedConcept("reason", PRIVATE_SCHEME, "Reason why the study is not assessable")
_REMEDY: Final = CodedConcept("remedy", PRIVATE_SCHEME, "What would help")


def not_assessable_report(
    context: ReportContext, source: SourceImages, *, previous: Sequence[Dataset] = ()
) -> Comprehensive3DSR:
    """Return the report of a study that is not assessable.

    It follows TID 1500 as the other reports do, so that the same readers show it. There are no measurements: the
    qualitative items say that nothing was assessed, by which code and why, and what would help. No vertebra is named,
    and no fracture is ruled out.

    Parameters
    ----------
    context : ReportContext
        Findings without probabilities, and the attributes that all objects share.
    source : SourceImages
        Images of the study, as `cspine.reports.dicom.source_images.study_images` returns them.
    previous : sequence of Dataset
        Reports of the same study that this one supersedes.
    """
    rejected = context.findings.not_assessable
    if rejected is None:
        raise ValueError("the study is assessable")
    return make_report(context, source, list(_content(context, source, rejected)), previous)


def _content(context: ReportContext, source: SourceImages, rejected: NotAssessable) -> Iterator[ContentItem]:
    """Yield the items below the root, in the order of the template."""
    contains = RelationshipTypeValues.CONTAINS
    yield from report_header(context)
    container = ContainerContentItem(name=QUALITATIVE_EVALUATIONS, relationship_type=contains)
    container.ContentSequence = ContentSequence([
        CodeContentItem(ASSESSMENT, NOT_ASSESSED, relationship_type=contains),
        TextContentItem(_CODE, rejected.code, relationship_type=contains),
        text_item(_REASON, rejected.reason),
        text_item(_REMEDY, remedy_of(rejected.code)),
    ])  # fmt: skip
    yield container
    yield provenance(context.findings)
    yield from (text_item(COMMENT, text) for text in (RESEARCH_USE_ONLY, *context.findings.warnings, *source.remarks))
