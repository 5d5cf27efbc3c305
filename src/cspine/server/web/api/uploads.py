"""A zip of a study, as people send it from a page and scripts by one call."""

from collections import Counter
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from cspine.core.errors import ArchiveError, OutputError
from cspine.core.files import output_errors
from cspine.dicom.files.archive import DAMAGE_ERRORS, Archive, find_packing, open_archive
from cspine.dicom.files.limits import ArchiveLimits, Budget, LimitExceededError
from cspine.server.web.context import WebContext
from cspine.server.web.errors import HttpError
from cspine.server.web.intake import ArrivingObject, Outcome, complete_studies, keys_of, storage_error
from cspine.server.web.security.access import Context, Uploader

router = APIRouter(prefix="/api", tags=["uploads"])

_LABEL: Final = "the archive"
_CHUNK_BYTES: Final = 2**18
_MAX_FILES: Final = 50_000
_TYPES: Final = frozenset({"application/zip", "application/x-zip-compressed", "application/octet-stream"})


class UploadAnswer(BaseModel):
    """What became of the files of an archive."""

    stored: int = Field(description="Objects that are new or replaced others.")
    repeated: int = Field(description="Objects that were there already.")
    rejected: dict[str, int] = Field(description="Number of files that are not accepted, by reason.")
    studies: list[str] = Field(description="Keys of the studies that the objects belong to.")


@router.post("/uploads", responses={413: {"description": "The archive is too large, or a zip bomb."}})
async def upload(request: Request, context: Context, identity: Uploader) -> UploadAnswer:
    """Receive a zip: the body is the archive itself, with Content-Type application/zip."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in _TYPES:
        raise HttpError(415, "the body is a zip; send it with Content-Type application/zip")
    try:
        path = context.spool.incoming(".zip")
    except OutputError as error:
        raise storage_error(error) from error
    try:
        await _write(request, context, path)
        outcomes = await run_in_threadpool(_receive_archive, context, path, f"http:{identity.name}")
    finally:
        path.unlink(missing_ok=True)
    for key in keys_of(outcomes):
        context.audit.record_access(identity.name, "study.receive", key)
    await run_in_threadpool(complete_studies, context, outcomes, source=f"http:{identity.name}")
    answer = UploadAnswer(
        stored=sum(each.received is not None and each.received.is_new for each in outcomes),
        repeated=sum(each.received is not None and not each.received.is_new for each in outcomes),
        rejected=dict(sorted(Counter(each.reason for each in outcomes if each.received is None).items())),
        studies=keys_of(outcomes),
    )
    if not answer.studies:
        reasons = ", ".join(f"{count} {reason}" for reason, count in answer.rejected.items()) or "it is empty"
        raise HttpError(422, f"the archive holds no CT image that is accepted ({reasons}); send the DICOM files")
    return answer


async def _write(request: Request, context: WebContext, path: Path) -> None:
    try:
        with output_errors(context.spool.folder), path.open("wb") as file:
            async for chunk in request.stream():
                file.write(chunk)
    except OutputError as error:
        raise storage_error(error) from error


def _receive_archive(context: WebContext, path: Path, source: str) -> list[Outcome]:
    """Receive every file of a zip; nothing of it is written but the objects themselves, one at a time."""
    intake = context.settings.intake
    limits = ArchiveLimits(
        max_bytes=int(intake.max_study_gb * 1e9),
        max_file_bytes=int(intake.max_object_mb * 1e6),
        max_files=_MAX_FILES,
    )
    try:
        stream = path.open("rb")
        packing = find_packing(stream)
        if packing is None or packing.archive != "zip":
            stream.close()
            raise HttpError(415, "the body is no zip; pack the DICOM files as one")
        archive = open_archive(stream, packing, _LABEL, Budget(limits, _LABEL, path.stat().st_size))
        return [_receive_member(context, archive, member.name, source) for member in archive.members]
    except LimitExceededError as error:
        raise HttpError(413, str(error), code="archive-limit") from error
    except ArchiveError as error:
        raise HttpError(422, str(error), code="archive") from error
    except DAMAGE_ERRORS as error:
        raise HttpError(422, "the archive is damaged; pack it again", code="archive") from error


def _receive_member(context: WebContext, archive: Archive, name: str, source: str) -> Outcome:
    with archive.open(name) as member, ArrivingObject(context) as arriving:
        while piece := member.read(_CHUNK_BYTES):
            arriving.write(piece)
        return arriving.receive(source=source)
