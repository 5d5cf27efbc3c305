"""The slices with the strongest evidence of suspicious vertebrae, as a key object selection."""

from typing import Final

from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument
from pydicom.uid import ExplicitVRLittleEndian

from cspine.core.anatomy import RESEARCH_USE_ONLY
from cspine.core.findings import SlicePosition, VertebraFinding
from cspine.reports.dicom.codes import OF_INTEREST
from cspine.reports.dicom.report_context import ReportContext
from cspine.reports.dicom.source_images import SourceImages

SERIES_NUMBER: Final = 9705


def key_object_selection(context: ReportContext, source: SourceImages) -> KeyObjectSelectionDocument | None:
    """Return a key object selection of the slices with the strongest evidence of each suspicious vertebra.

    Parameters
    ----------
    context, source
        As of `cspine.reports.dicom.structured_report.structured_report`.

    Returns
    -------
    KeyObjectSelectionDocument or None
        None if no vertebra is suspicious.
    """
    descriptions: dict[str, list[str]] = {}
    frames: dict[str, list[int]] = {}
    for vertebra in context.findings.vertebrae:
        evidence = vertebra.strongest if vertebra.is_suspicious else None
        if evidence is not None and evidence.slice is not None and vertebra.probability is not None:
            uid = evidence.slice.sop_instance_uid
            frames.setdefault(uid, []).append(evidence.slice.frame)
            descriptions.setdefault(uid, []).append(_describe(vertebra, evidence.slice))
    if not descriptions:
        return None
    instances = [source.dataset_of(uid) for uid in descriptions]
    sentence = "; ".join(description for parts in descriptions.values() for description in parts)
    content = KeyObjectSelection(
        document_title=OF_INTEREST,
        referenced_objects=instances,
        observer_device_context=context.observer,
        description=f"Suspicious: {sentence}. {RESEARCH_USE_ONLY}",
    )
    if "NumberOfFrames" in source.first:
        for item in content[0].ContentSequence:
            for reference in item.get("ReferencedSOPSequence", ()):
                reference.ReferencedFrameNumber = sorted(set(frames[reference.ReferencedSOPInstanceUID]))
    return KeyObjectSelectionDocument(
        evidence=instances,
        content=content,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        **context.series_attributes(SERIES_NUMBER, "cspine suspicious slices"),
    )


def _describe(vertebra: VertebraFinding, location: SlicePosition) -> str:
    number = location.instance_number if location.instance_number is not None else "without a number of its own"
    return f"{vertebra.level_label} {100 * (vertebra.probability or 0.0):.0f} % in slice {number}"
