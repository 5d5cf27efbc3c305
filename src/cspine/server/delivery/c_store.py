"""Results by C-STORE: contexts are negotiated from the files, which go as they are where the peer takes them."""

import logging
from pathlib import Path
from typing import Any, Final

import imagecodecs
from pydicom import Dataset, dcmread
from pydicom.encaps import generate_frames
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGLSLossless
from pynetdicom import AE, _config, build_context
from pynetdicom.association import Association

from cspine.dicom.codec.header import suppress_pydicom_warnings
from cspine.server.delivery.outgoing import DeliveryError, OutgoingObject, OutgoingResult
from cspine.server.settings import DestinationSettings
from cspine.server.tls import client_context

_config.STORE_SEND_CHUNKED_DATASET = True  # a file that is named by its path is sent as it is, in parts

MAX_PDU_BYTES: Final = 131_072

_UNCOMPRESSED: Final = (str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian))
_MAX_CONTEXTS: Final = 128
_WARNINGS: Final = 0xB000
_NO_REPORTS: Final = "the destination accepts no structured reports; enable their SOP class there"
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
    association = _associate(destination, objects)
    try:
        n_left_out = 0
        for number, each in enumerate(objects):
            result.keep_lease()
            payload = _payload(each, association)
            if payload is None and number == 0:
                raise DeliveryError(_NO_REPORTS)
            if payload is None:
                n_left_out += 1
                continue
            _store(association, payload)
    finally:
        association.release()
    if n_left_out:
        _LOGGER.warning("%s does not accept the class of %d objects; they are left out", destination.name, n_left_out)


def _associate(destination: DestinationSettings, objects: list[OutgoingObject]) -> Association:
    entity = AE(ae_title=destination.calling_ae_title)
    entity.maximum_pdu_size = MAX_PDU_BYTES
    entity.acse_timeout = entity.dimse_timeout = destination.timeout_s
    entity.network_timeout = entity.connection_timeout = destination.timeout_s
    exact = sorted({(each.sop_class_uid, each.transfer_syntax_uid) for each in objects})
    uncompressed = sorted({(uid, syntax) for uid, _ in exact for syntax in _UNCOMPRESSED} - set(exact))
    entity.requested_contexts = [
        build_context(uid, syntax) for uid, syntax in [*exact, *uncompressed][:_MAX_CONTEXTS]
    ]  # one syntax in each: of several the peer would choose one, which need not be the file's
    host, port = destination.host or "", destination.port or 0
    tls: Any = (client_context(destination.tls), host) if destination.tls is not None else None
    association = entity.associate(host, port, ae_title=destination.ae_title or "", tls_args=tls)
    if association.is_established:
        return association
    if association.rejected_contexts:  # all of them
        raise DeliveryError(_NO_REPORTS)
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
        raise DeliveryError("the association ended before an object was acknowledged", is_unreachable=True)
    if code != 0x0000 and code & 0xF000 != _WARNINGS:
        raise DeliveryError(f"an object was refused with status 0x{code:04X}")
