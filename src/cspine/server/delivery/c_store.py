"""Results by C-STORE: contexts are negotiated from the files, which go as they are where the peer takes them."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import imagecodecs
from pydicom import Dataset, dcmread
from pydicom.encaps import generate_frames
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGLSLossless
from pynetdicom import AE, _config, build_context
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from cspine.dicom.codec.header import suppress_pydicom_warnings
from cspine.server.delivery.outgoing import DeliveryError, OutgoingObject, OutgoingResult
from cspine.server.settings import DestinationSettings
from cspine.server.tls import client_context

_config.STORE_SEND_CHUNKED_DATASET = True  # a file that is named by its path is sent as it is, in parts

MAX_PDU_BYTES: Final = 131_072

_UNCOMPRESSED: Final = (str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian))
_MAX_CONTEXTS: Final = 128
_WARNINGS: Final = 0xB000
_LOGGER: Final = logging.getLogger(__name__)


def send_by_c_store(destination: DestinationSettings, result: OutgoingResult) -> None:
    """Send the objects of a result over one association.

    A repeat has the same UIDs, so that the destination holds each object once. Objects of a class that the destination
    does not accept are left out with a warning, except for the report.

    Raises
    ------
    DeliveryError
        The destination cannot be reached, refuses the association or an object, or does not accept the report.
    """
    objects = result.objects(reports_only=destination.objects == "sr")
    if not objects:
        raise DeliveryError("the result holds no DICOM object", is_permanent=True)
    n_left_out = store_files(destination, objects, result.keep_lease)
    if n_left_out:
        _LOGGER.warning("%s does not accept the class of %d objects; they are left out", destination.name, n_left_out)


def store_files(
    destination: DestinationSettings, objects: list[OutgoingObject], before_each: Callable[[], None] = lambda: None
) -> int:
    """Send files over one association and return how many the destination has no context for.

    Parameters
    ----------
    destination : DestinationSettings
        Of kind ``dicom``.
    objects : list of OutgoingObject
        What is sent; the first one has to be accepted.
    before_each : callable
        Called before each object; it may raise.

    Raises
    ------
    DeliveryError
        As by `send_by_c_store`.
    """
    association = _associate(destination, _contexts(objects))
    n_left_out = 0
    try:
        for number, each in enumerate(objects):
            before_each()
            payload = _payload(each, association)
            if payload is not None:
                _store(association, payload)
            elif number == 0:
                raise DeliveryError(_not_accepted(each.sop_class_uid))
            else:
                n_left_out += 1
    finally:
        association.release()
    return n_left_out


def verify(destination: DestinationSettings) -> None:
    """Ask whether a node is there and knows us, by C-ECHO; raises `DeliveryError` as `send_by_c_store` does."""
    association = _associate(destination, [build_context(Verification)])
    try:
        if getattr(association.send_c_echo(), "Status", None) != 0x0000:
            raise DeliveryError("the destination does not answer C-ECHO", is_unreachable=True)
    finally:
        association.release()


def _contexts(objects: list[OutgoingObject]) -> list[PresentationContext]:
    """Return a context for each kind of object, as it is and without compression.

    There is one syntax in each: of several the peer would choose one, which need not be the file's.
    """
    exact = sorted({(each.sop_class_uid, each.transfer_syntax_uid) for each in objects})
    uncompressed = sorted({(uid, syntax) for uid, _ in exact for syntax in _UNCOMPRESSED} - set(exact))
    return [build_context(uid, syntax) for uid, syntax in [*exact, *uncompressed][:_MAX_CONTEXTS]]


def _associate(destination: DestinationSettings, contexts: list[PresentationContext]) -> Association:
    entity = AE(ae_title=destination.calling_ae_title)
    entity.maximum_pdu_size = MAX_PDU_BYTES
    entity.acse_timeout = entity.dimse_timeout = destination.timeout_s
    entity.network_timeout = entity.connection_timeout = destination.timeout_s
    entity.requested_contexts = contexts
    host, port = destination.host or "", destination.port or 0
    tls: Any = (client_context(destination.tls), host) if destination.tls is not None else None
    association = entity.associate(host, port, ae_title=destination.ae_title or "", tls_args=tls)
    if association.is_established:
        return association
    if association.rejected_contexts:  # all of them
        raise DeliveryError(_not_accepted(str(contexts[0].abstract_syntax)))
    if association.is_rejected:
        raise DeliveryError("the destination refuses the association; check both AE titles there", is_unreachable=True)
    raise DeliveryError("the destination cannot be reached", is_unreachable=True)


def _payload(each: OutgoingObject, association: Association) -> Path | Dataset | None:
    """Return the file, or its data set without compression; None where the peer takes neither."""
    accepted = {
        (str(context.abstract_syntax), str(context.transfer_syntax[0])) for context in association.accepted_contexts
    }
    if (each.sop_class_uid, each.transfer_syntax_uid) in accepted:
        return each.path
    syntax = next((uid for uid in _UNCOMPRESSED if (each.sop_class_uid, uid) in accepted), None)
    return _decompressed(each, syntax) if syntax is not None else None


def _decompressed(each: OutgoingObject, transfer_syntax_uid: str) -> Dataset:
    with suppress_pydicom_warnings():
        dataset = dcmread(each.path)
        if each.transfer_syntax_uid == JPEGLSLossless:  # our captures
            n_frames = int(dataset.get("NumberOfFrames", 1))
            frames = generate_frames(dataset.PixelData, number_of_frames=n_frames)
            pixels = b"".join(imagecodecs.jpegls_decode(frame).tobytes() for frame in frames)
            dataset.PixelData = pixels + b"\0" * (len(pixels) % 2)
            dataset["PixelData"].VR = "OB" if dataset.BitsAllocated <= 8 else "OW"
            dataset["PixelData"].is_undefined_length = False
        elif dataset.file_meta.TransferSyntaxUID.is_encapsulated:
            dataset.decompress()
        dataset.file_meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    return dataset


def _store(association: Association, payload: Any) -> None:  # noqa: ANN401 - a path or a data set
    status = association.send_c_store(payload)
    code = getattr(status, "Status", None)
    if code is None:
        raise DeliveryError("the association ended before an object was acknowledged")
    if code != 0x0000 and code & 0xF000 != _WARNINGS:
        raise DeliveryError(f"an object was refused with status 0x{code:04X}")


def _not_accepted(sop_class_uid: str) -> str:
    return f"the destination does not accept {UID(sop_class_uid).name}; enable this SOP class there"
