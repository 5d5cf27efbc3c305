"""Codes of studies that are not assessable: which error has which, and what would help."""

from typing import Final

from cspine.core.errors import (
    OUT_OF_MEMORY,
    DecodeError,
    DicomError,
    GeometryError,
    InputError,
    NotAssessableError,
    NotHounsfieldError,
    OutOfMemoryError,
    is_memory_error,
)
from cspine.core.findings import NotAssessable

_CODES: Final[tuple[tuple[type[InputError], str], ...]] = (
    (GeometryError, "geometry"),
    (DecodeError, "pixels"),
    (NotHounsfieldError, "not-hounsfield"),
    (DicomError, "no-series"),
)

FAILED: Final = "failed"
"""Code of a study whose prediction crashed. It is no answer: the next run tries it again."""

REMEDIES: Final[dict[str, str]] = {
    "no-series": "send the CT images of the study, as the scanner stored them",
    "geometry": "send the complete series, with the slices that are missing",
    "pixels": "send the files again; they were damaged on the way or in the archive",
    "not-hounsfield": "send the original CT with its rescale slope and intercept",
    "too-thick": "send the thin bone-kernel series: slices at most 3 mm apart, better 1 mm or less",
    "too-short": "send the complete series, from the skull base to T1",
    "no-bone": "send the CT of the cervical spine; if this is one, check the rescale slope and intercept",
    "no-cervical-spine": "send a scan that shows the cervical spine, from the skull base to T1",
    "no-complete-vertebra": "give a scan that shows at least one whole cervical vertebra",
    "implausible-anatomy": "correct the patient's position, the orientation or the pixel spacing in the headers",
    "implausible-size": "correct the pixel spacing and the positions in the headers",
    "no-segmentation": "add a segmentation named by the StudyInstanceUID",
    "unusable-segmentation": "give the segmentation of this scan, or none",
    "unreadable": "send the files again, as the scanner stored them",
    FAILED: "run the same command again, and report it if it persists",
}
"""What would help, by code; the reason of a study names its own files and numbers."""


def remedy_of(code: str) -> str:
    """Return what would make a study assessable, as one sentence without its full stop.

    >>> remedy_of("too-short")
    'send the complete series, from the skull base to T1'
    """
    return REMEDIES.get(code, REMEDIES["unreadable"])


def not_assessable_from(error: NotAssessableError | InputError) -> NotAssessable:
    """Return why a study is not assessable, from the error that its loading or assessment raised.

    Raises
    ------
    OutOfMemoryError
        The error was caused by too little memory: with more, the study may be assessable.

    >>> not_assessable_from(NotAssessableError("too-thick", "slices are 5.0 mm apart")).code
    'too-thick'
    """
    if isinstance(error, NotAssessableError):
        return NotAssessable(code=error.code, reason=error.reason)
    if is_memory_error(error):
        raise OutOfMemoryError(f"{str(error).partition(':')[0]}: {OUT_OF_MEMORY}") from error
    return NotAssessable(
        code=next((code for kind, code in _CODES if isinstance(error, kind)), "unreadable"), reason=str(error)
    )
