"""The shape of a compressed frame, read from its codestream before anything is decoded.

A decoder allocates the size that the codestream declares, so that size is compared with the DICOM header first. A
codestream without its end marker is truncated, which some decoders do not report.
"""

from dataclasses import dataclass
from typing import Final

END_OF_IMAGE: Final = b"\xff\xd9"
"""Marker at the end of JPEG (EOI) and JPEG 2000 (EOC) codestreams."""


class CodestreamError(ValueError):
    """Compressed pixels that are damaged; the message is a fact without file name, to go into a sentence."""


@dataclass(frozen=True, slots=True)
class Codestream:
    """The shape of the image in a codestream.

    Attributes
    ----------
    rows, columns : int
        Size of the image in pixels.
    components : int
        Number of color components; 1 for gray.
    bits : int
        Number of bits per sample.
    signed : bool
        Whether samples are signed; only JPEG 2000 declares it.
    n_decomposition_levels : int
        How many times the resolution may be halved in decoding; only JPEG 2000 can.
    """

    rows: int
    columns: int
    components: int
    bits: int
    signed: bool = False
    n_decomposition_levels: int = 0
