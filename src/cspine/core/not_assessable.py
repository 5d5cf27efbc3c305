"""The not-assessable code of an error."""

from typing import Final

from cspine.core.errors import DecodeError, DicomError, GeometryError, InputError, NotAssessableError
from cspine.core.findings import NotAssessable

_CODES: Final[tuple[tuple[type[InputError], str], ...]] = (
    (GeometryError, "geometry"),
    (DecodeError, "pixels"),
    (DicomError, "no-series"),
)


def not_assessable_from(error: NotAssessableError | InputError) -> NotAssessable:
    """Return why a study is not assessable, from the error that its loading or assessment raised.

    >>> not_assessable_from(NotAssessableError("too-thick", "slices are 5.0 mm apart")).code
    'too-thick'
    """
    if isinstance(error, NotAssessableError):
        return NotAssessable(code=error.code, reason=error.reason)
    return NotAssessable(
        code=next((code for kind, code in _CODES if isinstance(error, kind)), "unreadable"), reason=str(error)
    )
