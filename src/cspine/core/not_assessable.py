"""The not-assessable code of an error."""

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
