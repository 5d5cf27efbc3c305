"""What the node negotiates: the storage classes of CT in every transfer syntax that `cspine.dicom` decodes."""

from typing import Final

from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pynetdicom.presentation import PresentationContext, build_context

from cspine.dicom.codec.codecs import CODECS, RLE
from cspine.server.spool.headers import CT_SOP_CLASSES

VERIFICATION: Final = "1.2.840.10008.1.1"
STORAGE_COMMITMENT: Final = "1.2.840.10008.1.20.1"

UNCOMPRESSED: Final = (str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian), str(ExplicitVRBigEndian))

_LOSSLESS: Final = (
    "1.2.840.10008.1.2.4.70",  # JPEG lossless, first-order prediction
    "1.2.840.10008.1.2.4.80",  # JPEG-LS
    "1.2.840.10008.1.2.4.57",  # JPEG lossless
    "1.2.840.10008.1.2.4.90",  # JPEG 2000
    "1.2.840.10008.1.2.4.201",  # HTJ2K
    "1.2.840.10008.1.2.4.202",
)

_PREFERRED: Final = (*UNCOMPRESSED, *_LOSSLESS, RLE, str(DeflatedExplicitVRLittleEndian))

TRANSFER_SYNTAXES: Final = (*_PREFERRED, *(uid for uid in CODECS if uid not in _PREFERRED))
"""By preference, since a sender may offer several in one context: without loss before with loss."""


def supported_contexts() -> list[PresentationContext]:
    """Return the presentation contexts that the node accepts."""
    services = [build_context(uid, list(UNCOMPRESSED)) for uid in (VERIFICATION, STORAGE_COMMITMENT)]
    return [*services, *(build_context(uid, list(TRANSFER_SYNTAXES)) for uid in CT_SOP_CLASSES)]
