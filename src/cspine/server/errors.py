"""Errors of the server, beside those of the library."""

from typing import Literal

from cspine.core.errors import CspineError

RejectReason = Literal["not-dicom", "no-uid", "sop-class", "mismatch", "too-large"]
"""Why an object is not accepted: no DICOM, a UID is missing, no CT image, other UIDs than announced, a limit."""


class RejectedObject(CspineError):  # noqa: N818 - it is the sender's fault, and an answer
    """An object that was received is not accepted, and would not be at another time.

    Attributes
    ----------
    reason : RejectReason
        Why, for the protocol's status.
    """

    def __init__(self, reason: RejectReason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


class SpoolError(CspineError):
    """An object could not be stored for a reason on our side; the sender may send it again."""
