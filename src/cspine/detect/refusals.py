"""Why no answer is given, for programs and for people."""

from typing import Final

from cspine.errors import DecodeError, DicomError, GeometryError, InputError, NotAssessableError
from cspine.findings import Refusal

_CODES: Final[tuple[tuple[type[InputError], str], ...]] = (
    (GeometryError, "geometry"),
    (DecodeError, "pixels"),
    (DicomError, "no-series"),
)


def refusal_of(error: NotAssessableError | InputError) -> Refusal:
    """Return the refusal that an error stands for."""
    if isinstance(error, NotAssessableError):
        return Refusal(code=error.code, reason=error.reason)
    return Refusal(
        code=next((code for kind, code in _CODES if isinstance(error, kind)), "unreadable"), reason=str(error)
    )
