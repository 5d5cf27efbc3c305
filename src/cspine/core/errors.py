"""Every error that the library raises on purpose.

::

    CspineError
    ├── InputError            something given to us cannot be used
    │   ├── SourceError       a path holds nothing readable (no file, no DICOM, empty folder)
    │   ├── ArchiveError      an archive that is unsafe or damaged
    │   ├── DicomError        a DICOM file that lacks what is needed, or contradicts itself
    │   ├── GeometryError     slices that do not form a volume
    │   ├── DecodeError       pixels that cannot be decoded
    │   ├── NotHounsfieldError  values that are not Hounsfield units
    │   ├── LabelError        labels, boxes or tables that do not fit
    │   └── WeightsError      weights that cannot be used
    ├── NotAssessableError    a readable study that cannot be assessed
    ├── OutputError           a folder or file that cannot be written
    │   ├── OutputTakenError  it holds something else
    │   └── DiskFullError     no space is left
    ├── OutOfMemoryError      the work takes more memory than there is
    ├── PreemptedError        a training was asked to stop, and its checkpoint is written
    └── MissingExtraError     an optional part is not installed

A message names the file, the fact and the remedy in one sentence, and never a patient.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final


class CspineError(Exception):
    """The base of every error raised on purpose."""


class InputError(CspineError):
    """Something given to us cannot be used."""


class SourceError(InputError):
    """A path holds nothing that can be read."""


class ArchiveError(InputError):
    """An archive is unsafe to open, or damaged."""


class DicomError(InputError):
    """A DICOM file lacks what is needed, or contradicts itself."""


class GeometryError(InputError):
    """The slices of a series do not form a volume."""


class DecodeError(InputError):
    """The pixels of a file cannot be decoded."""


class NotHounsfieldError(InputError):
    """The values of a series are not Hounsfield units, whatever its headers say."""


class LabelError(InputError):
    """Labels, boxes or tables do not fit what they describe."""


class WeightsError(InputError):
    """Weights are damaged, of another kind, or missing."""


class NotAssessableError(CspineError):
    """A study can be read, but not assessed.

    Attributes
    ----------
    code : str
        A fixed code for programs, such as ``too-thick``.
    reason : str
        One sentence for people.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason

    def __reduce__(self) -> tuple[type["NotAssessableError"], tuple[str, str]]:
        """Pickle with both arguments, so that the error survives the way back from a worker process."""
        return (type(self), (self.code, self.reason))


class OutputError(CspineError):
    """A folder or file cannot be written."""


class OutputTakenError(OutputError):
    """The output folder holds something else."""


class DiskFullError(OutputError):
    """No space is left where we write."""


class OutOfMemoryError(CspineError):
    """The work takes more memory than there is."""


class PreemptedError(CspineError):
    """A signal announced that the machine is taken away, and a checkpoint was written; the same command continues."""


class MissingExtraError(CspineError):
    """An optional part of cspine is not installed."""


_MEMORY_TEXTS: Final = (
    "bad_alloc",  # C++, as ONNX Runtime passes it on
    "bad allocation",  # the same on Windows
    "allocate memory",  # the system's text of ENOMEM; ONNX Runtime
    "failed to map segment",  # the dynamic loader: a library is imported
    "out of memory",
    "start new thread",  # its stack
)
"""Parts of the messages of native code that ran out of memory."""


def is_memory_error(error: BaseException) -> bool:
    """Return whether an error, or one that caused it, says that memory ran out.

    >>> is_memory_error(MemoryError()), is_memory_error(OSError(errno.ENOENT, "No such file or directory"))
    (True, False)
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, (MemoryError, OutOfMemoryError)):
            return True
        if isinstance(cause, OSError) and cause.errno == errno.ENOMEM:
            return True
        if not isinstance(cause, CspineError) and any(text in str(cause).lower() for text in _MEMORY_TEXTS):
            return True
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return False


@contextmanager
def memory_errors(subject: str) -> Iterator[None]:
    """Convert errors of the block that say that memory ran out, also those that were taken for damage of a file.

    Parameters
    ----------
    subject : str
        The file, folder or study at work, which begins the message.

    Raises
    ------
    OutOfMemoryError
    """
    try:
        yield
    except OutOfMemoryError:
        raise
    except Exception as error:
        if is_memory_error(error):
            raise OutOfMemoryError(f"{subject}: {OUT_OF_MEMORY}") from error
        raise


OUT_OF_MEMORY: Final = "memory or threads ran out; close other programs, raise the limits, or use fewer --workers"
"""Fact and remedy of an `OutOfMemoryError`."""
