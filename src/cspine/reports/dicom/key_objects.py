"""The slices that show what is suspicious, as a key object selection."""

from typing import Final

from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument
from pydicom.uid import ExplicitVRLittleEndian

from cspine.core.anatomy import RESEARCH_USE_ONLY
from cspine.reports.dicom.codes import OF_INTEREST
from cspine.reports.dicom.report_context import ReportContext
from cspine.reports.dicom.source_images import SourceImages

SERIES_NUMBER: Final = 9705


def key_objects(making: ReportContext, source: SourceImages) -> KeyObjectSelectionDocument | None:
    """Return a document that points to the slices with the strongest place of each suspicious vertebra.

    Parameters
    ----------
    making : Making
        What was found.
    source : SourceImages
        What it was read from.

    Returns
    -------
    KeyObjectSelectionDocument or None
        None where no vertebra is suspicious.
    """
    told: dict[str, list[str]] = {}
    frames: dict[str, list[int]] = {}
    for vertebra in making.findings.vertebrae:
        place = vertebra.strongest if vertebra.is_suspicious else None
        if place is not None and place.slice is not None and vertebra.probability is not None:
            number = place.slice.instance_number
            frames.setdefault(place.slice.sop_instance_uid, []).append(place.slice.frame)
            what = (
                f"{vertebra.level} {100 * vertebra.probability:.0f} % in slice {number if number is not None else '?'}"
            )
            told.setdefault(place.slice.sop_instance_uid, []).append(what)
    if not told:
        return None
    chosen = [source.holding(uid) for uid in told]
    sentence = "; ".join(what for each in told.values() for what in each)
    content = KeyObjectSelection(
        document_title=OF_INTEREST,
        referenced_objects=chosen,
        observer_device_context=making.observer,
        description=f"Suspicious: {sentence}. {RESEARCH_USE_ONLY}",
    )
    for item in content[0].ContentSequence:
        for reference in item.get("ReferencedSOPSequence", ()):
            if "NumberOfFrames" in source.first:
                reference.ReferencedFrameNumber = sorted(set(frames[reference.ReferencedSOPInstanceUID]))
    return KeyObjectSelectionDocument(
        evidence=chosen,
        content=content,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        **making.series(SERIES_NUMBER, "cspine suspicious slices"),
    )
