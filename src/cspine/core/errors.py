"""Every error that the library raises on purpose.

::

    CspineError
    ├── InputError            something given to us cannot be used
    │   ├── SourceError       a path holds nothing readable (no file, no DICOM, empty folder)
    │   ├── ArchiveError      an archive that is unsafe or damaged
    │   ├── DicomError        a DICOM file that lacks what is needed, or contradicts itself
    │   ├── GeometryError     slices that do not form a volume
    │   ├── DecodeError       pixels that cannot be decoded
    │   ├── LabelError        labels, boxes or tables that do not fit
    │   └── WeightsError      weights that cannot be used
    ├── NotAssessableError    a readable study that cannot be assessed
    ├── OutputError           a folder or file that cannot be written
    │   ├── OutputTakenError  it holds something else
    │   └── DiskFullError     no space is left
    └── MissingExtraError     an optional part is not installed

A message names the file, the fact and the remedy in one sentence, and never a patient.
"""


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


class MissingExtraError(CspineError):
    """An optional part of cspine is not installed."""
