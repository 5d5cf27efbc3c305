"""Why no answer is given, for programs and for people."""

from typing import Final

from cspine.core.errors import DecodeError, DicomError, GeometryError, InputError, NotAssessableError
from cspine.core.findings import NotAssessable

_CODES: Final[tuple[tuple[type[InputError], str], ...]] = (
    (GeometryError, "geometry"),
    (DecodeError, "pixels"),
    (DicomError, "no-series"),
)


def not_assessable_from(error: NotAssessableError | InputError) -> NotAssessable:
    """Return the refusal that an error stands for."""
    if isinstance(error, NotAssessableError):
        return NotAssessable(code=error.code, reason=error.reason)
    return NotAssessable(
        code=next((code for kind, code in _CODES if isinstance(error, kind)), "unreadable"), reason=str(error)
    )
