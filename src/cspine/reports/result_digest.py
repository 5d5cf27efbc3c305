"""What identifies a result: identifiers of DICOM objects and of FHIR resources are derived from it.

The same result written again replaces itself, and a changed answer gets identifiers of its own.
"""

from collections.abc import Sequence

from cspine.classification.result import CaseResult
from cspine.core.findings import Findings
from cspine.core.settings import digest
from cspine.dicom.codec.header import SliceHeader


def slice_names(headers: Sequence[SliceHeader | None]) -> tuple[str, ...]:
    """Return the slices of a result, each as its SOPInstanceUID and frame, sorted.

    Parameters
    ----------
    headers : sequence of SliceHeader or None
        The slices in any order, since that of the files of an unreadable series is chance; None for a frame that was
        not read.
    """
    return tuple(sorted(f"{header.sop_instance_uid} {header.frame}" for header in headers if header is not None))


def pixel_digest(case_result: CaseResult) -> str:
    """Return the hash of the decoded slices of a result; empty where none were decoded."""
    return case_result.compiled.provenance.pixel_digest if case_result.compiled else ""


def result_digest(findings: Findings, slices: Sequence[str], pixels: str, *, revision: int = 0) -> str:
    """Return the hash of what a result depends on.

    These are the slices and their pixels, the versions of software and schema, the hashes of weights and localizer, the
    calibration, the settings, and of a study that is not assessable the code of its reason.

    Parameters
    ----------
    findings : Findings
        The findings.
    slices : sequence of str
        The slices that were read, as of `slice_names`.
    pixels : str
        As of `pixel_digest`.
    revision : int
        Number that distinguishes results that are equal in all else.
    """
    calibration, rejected = findings.calibration, findings.not_assessable
    return digest([
        findings.study_instance_uid,
        findings.series_instance_uid,
        *slices,
        pixels,
        findings.schema_version,
        findings.software.version,
        findings.weights.sha256,
        findings.localizer.sha256 if findings.localizer else None,
        calibration.model_dump(mode="json") if calibration else None,
        findings.test_time_augmentation,
        rejected.code if rejected else None,
        revision,
    ])  # fmt: skip
