"""The slices with the strongest evidence of suspicious vertebrae, as a key object selection."""

from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument
from pydicom.uid import ExplicitVRLittleEndian

from cspine.core.anatomy import RESEARCH_USE_ONLY
from cspine.core.findings import SlicePosition, VertebraFinding
from cspine.reports.dicom.codes import OF_INTEREST
from cspine.reports.dicom.derived_series import KEY_IMAGES
from cspine.reports.dicom.report_context import ReportContext
from cspine.reports.dicom.source_images import SourceImages
from cspine.reports.images.level_sheet import name_slice


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
    if source.is_multi_frame:
        for item in content[0].ContentSequence:
            for reference in item.get("ReferencedSOPSequence", ()):
                reference.ReferencedFrameNumber = sorted(set(frames[reference.ReferencedSOPInstanceUID]))
    return KeyObjectSelectionDocument(
        evidence=instances,
        content=content,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        **context.series_attributes(KEY_IMAGES),
    )


def _describe(vertebra: VertebraFinding, location: SlicePosition) -> str:
    return f"{vertebra.level_label} {100 * (vertebra.probability or 0.0):.0f} % in {name_slice(location)}"
