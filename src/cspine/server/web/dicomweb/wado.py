"""WADO-RS (PS3.18, 10.4): objects, metadata, frames and pictures, of received objects and of results."""

import gzip
import secrets
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response, StreamingResponse

from cspine.core.errors import DecodeError
from cspine.server.web.dicomweb.contents import Instance
from cspine.server.web.dicomweb.frames import PixelFile
from cspine.server.web.dicomweb.lookup import instances_of
from cspine.server.web.dicomweb.media_types import (
    DICOM,
    DICOM_JSON,
    EXPLICIT_LITTLE_ENDIAN,
    MULTIPART,
    OCTETS,
    MediaRange,
    accepted,
    require_json,
)
from cspine.server.web.dicomweb.rendered import PictureFormat, Rendering, parse_viewport, parse_window, render
from cspine.server.web.errors import HttpError
from cspine.server.web.security.access import Context, Reader

router = APIRouter(prefix="/dicom-web", tags=["WADO-RS"])

_CHUNK_BYTES: Final = 2**18
_MAX_FRAMES: Final = 2000
_MIN_GZIP_BYTES: Final = 4096

_IMAGE_TYPES: Final = {
    "1.2.840.10008.1.2.4.50": "image/jpeg",
    "1.2.840.10008.1.2.4.51": "image/jpeg",
    "1.2.840.10008.1.2.4.57": "image/jpeg",
    "1.2.840.10008.1.2.4.70": "image/jpeg",
    "1.2.840.10008.1.2.4.80": "image/jls",
    "1.2.840.10008.1.2.4.81": "image/jls",
    "1.2.840.10008.1.2.4.90": "image/jp2",
    "1.2.840.10008.1.2.4.91": "image/jp2",
    "1.2.840.10008.1.2.4.201": "image/jphc",
    "1.2.840.10008.1.2.4.202": "image/jphc",
    "1.2.840.10008.1.2.4.203": "image/jphc",
    "1.2.840.10008.1.2.5": "image/dicom-rle",
}
"""Media type of a frame by its transfer syntax (PS3.18, table 8.7.3-5)."""

_Short = Annotated[str | None, Query(max_length=64)]

_STUDY: Final = "/studies/{study}"
_SERIES: Final = _STUDY + "/series/{series}"
_INSTANCE: Final = _SERIES + "/instances/{instance}"


@router.get(_STUDY)
def retrieve_study(study: str, request: Request, context: Context, identity: Reader) -> Response:
    """Return all objects of a study."""
    return _objects(request, instances_of(context, study, identity.name))


@router.get(_SERIES)
def retrieve_series(study: str, series: str, request: Request, context: Context, identity: Reader) -> Response:
    """Return all objects of a series."""
    return _objects(request, instances_of(context, study, identity.name, series=series))


def find_instance(study: str, series: str, instance: str, context: Context, identity: Reader) -> Instance:
    """Return the object that an address names."""
    return instances_of(context, study, identity.name, series=series, instance=instance)[0]


Found = Annotated[Instance, Depends(find_instance)]
"""The object that an address names."""


@router.get(_INSTANCE)
def retrieve_instance(request: Request, found: Found) -> Response:
    """Return one object."""
    return _objects(request, [found])


@router.get(_STUDY + "/metadata")
def retrieve_study_metadata(study: str, request: Request, context: Context, identity: Reader) -> Response:
    """Return the metadata of all objects of a study."""
    return _metadata(request, instances_of(context, study, identity.name))


@router.get(_SERIES + "/metadata")
def retrieve_series_metadata(study: str, series: str, request: Request, context: Context, identity: Reader) -> Response:
    """Return the metadata of all objects of a series."""
    return _metadata(request, instances_of(context, study, identity.name, series=series))


@router.get(_INSTANCE + "/metadata")
def retrieve_instance_metadata(request: Request, found: Found) -> Response:
    """Return the metadata of one object."""
    return _metadata(request, [found])


@router.get(_INSTANCE + "/frames/{frames}")
def retrieve_frames(frames: str, request: Request, found: Found) -> Response:
    """Return frames of an object, numbered from 1 and separated by commas."""
    numbers = _frame_numbers(frames)
    with _PixelErrors():
        pixels = open_pixels(found)
        is_stored = _wants_stored(accepted(request), str(pixels.syntax), is_compressed=pixels.is_compressed)
        kind, syntax = OCTETS, EXPLICIT_LITTLE_ENDIAN
        if is_stored and pixels.is_compressed:
            syntax = str(pixels.syntax)
            kind = _frame_type(accepted(request), syntax)
        read = pixels.read_stored if is_stored else pixels.native
        parts = [read(number - 1) for number in numbers]
    return _multipart(kind, f"{kind}; transfer-syntax={syntax}", ([part] for part in parts))


@router.get(_INSTANCE + "/rendered")
def retrieve_rendered(
    request: Request,
    found: Found,
    window: _Short = None,
    viewport: _Short = None,
    quality: Annotated[int, Query(ge=1, le=100)] = 90,
) -> Response:
    """Return the first frame of an object as a picture: JPEG, or PNG where that is wanted more."""
    rendering = Rendering(_picture_format(request), parse_window(window), parse_viewport(viewport), quality)
    return _picture(found, 1, rendering)


@router.get(_INSTANCE + "/frames/{frame}/rendered")
def retrieve_rendered_frame(
    frame: str, request: Request, found: Found, window: _Short = None, viewport: _Short = None
) -> Response:
    """Return a frame of an object as a picture."""
    rendering = Rendering(_picture_format(request), parse_window(window), parse_viewport(viewport))
    return _picture(found, _frame_numbers(frame)[0], rendering)


def _objects(request: Request, instances: Sequence[Instance]) -> Response:
    """Return files as they are stored, one part each."""
    for each in accepted(request):
        if each.part_type not in {DICOM, "application/*", "*/*"}:
            continue
        if any(each.transfer_syntax not in {None, "*", one.transfer_syntax_uid} for one in instances):
            continue
        if each.name == DICOM and len(instances) == 1:
            return StreamingResponse(_read(instances[0]), media_type=DICOM)
        if each.name in {MULTIPART, "*/*"}:
            return _multipart(DICOM, DICOM, (_read(one) for one in instances))
    raise HttpError(406, 'objects are sent as stored; accept multipart/related; type="application/dicom"; '
                         "transfer-syntax=*")  # fmt: skip


def _read(instance: Instance) -> Iterator[bytes]:
    with instance.path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            yield chunk


def _multipart(kind: str, part_type: str, parts: Iterator[Iterator[bytes] | list[bytes]]) -> Response:
    """Return a multipart/related response, sent piece by piece."""
    boundary = secrets.token_hex(16)

    def body() -> Iterator[bytes]:
        for part in parts:
            yield f"--{boundary}\r\nContent-Type: {part_type}\r\n\r\n".encode()
            yield from part
            yield b"\r\n"
        yield f"--{boundary}--\r\n".encode()

    media_type = f'{MULTIPART}; type="{kind}"; boundary={boundary}'
    return StreamingResponse(body(), headers={"Content-Type": media_type})


def _metadata(request: Request, instances: Sequence[Instance]) -> Response:
    require_json(request)
    body = b"[" + b",".join(instance.metadata for instance in instances) + b"]"
    headers = {"Vary": "Accept-Encoding"}
    if len(body) >= _MIN_GZIP_BYTES and "gzip" in request.headers.get("accept-encoding", ""):
        body = gzip.compress(body, 3)
        headers["Content-Encoding"] = "gzip"
    return Response(body, media_type=DICOM_JSON, headers=headers)


def _frame_numbers(text: str) -> list[int]:
    parts = text.split(",")
    if len(parts) > _MAX_FRAMES or not all(part.isascii() and part.isdigit() and len(part) <= 7 for part in parts):
        raise HttpError(400, "frames are numbers from 1, separated by commas")
    numbers = [int(part) for part in parts]
    if min(numbers) < 1:
        raise HttpError(400, "frames are numbered from 1")
    return numbers


@lru_cache(maxsize=64)
def _open_pixels(instance: Instance) -> PixelFile:
    return PixelFile(instance.path)


def open_pixels(instance: Instance) -> PixelFile:
    """Return the pixels of an object; those opened last are kept, since viewers read frame by frame.

    Raises
    ------
    DecodeError
        The object holds no pixels.
    """
    if not instance.n_frames:
        raise DecodeError("the object holds no pixels; ask for the object itself")
    return _open_pixels(instance)


class _PixelErrors:
    """Turns errors of pixels into answers."""

    def __enter__(self) -> None:
        return

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, DecodeError):
            raise HttpError(404 if "no frame" in str(error) else 406, str(error)) from error
        if isinstance(error, FileNotFoundError):
            raise HttpError(404, "the object was removed in the meantime") from error


def _wants_stored(ranges: Sequence[MediaRange], syntax: str, *, is_compressed: bool) -> bool:
    """Return whether frames are sent as stored: where they are not compressed, or their syntax or type is accepted.

    Raises
    ------
    HttpError
        406: neither the stored form is accepted, nor that without compression.
    """
    image_type = _IMAGE_TYPES.get(syntax)
    for each in ranges:
        if is_compressed and each.part_type == image_type and each.transfer_syntax in {None, "*", syntax}:
            return True
        if each.part_type in {OCTETS, "application/*", "*/*"}:
            if each.transfer_syntax in {"*", syntax}:
                return True
            if each.transfer_syntax in {None, EXPLICIT_LITTLE_ENDIAN}:
                return not is_compressed
    raise HttpError(406, "frames are sent as stored or as application/octet-stream; accept one of them")


def _frame_type(ranges: Sequence[MediaRange], syntax: str) -> str:
    """Return the type of compressed frames: octets where they were asked for by name, that of the image otherwise."""
    return OCTETS if any(each.part_type == OCTETS for each in ranges) else _IMAGE_TYPES.get(syntax, OCTETS)


def _picture_format(request: Request) -> PictureFormat:
    for each in accepted(request):
        if each.name in {"image/jpeg", "image/*", "*/*"}:
            return "jpeg"
        if each.name == "image/png":
            return "png"
    raise HttpError(406, "pictures are sent as image/jpeg or image/png; accept one of them")


def _picture(instance: Instance, number: int, rendering: Rendering) -> Response:
    with _PixelErrors():
        picture = render(open_pixels(instance), number - 1, rendering)
    return Response(picture, media_type=f"image/{rendering.picture_format}")
