"""STOW-RS (PS3.18, 10.5): objects in, each on disk before it is acknowledged."""

from contextlib import ExitStack
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from cspine.server.web.context import WebContext
from cspine.server.web.dicomweb.lookup import retrieve_url
from cspine.server.web.dicomweb.media_types import DICOM, DICOM_JSON, MULTIPART, parse_media_types, require_json
from cspine.server.web.dicomweb.metadata import encode
from cspine.server.web.dicomweb.multipart import PartEnd, PartHead, read_parts
from cspine.server.web.errors import HttpError
from cspine.server.web.intake import ArrivingObject, Outcome, complete_studies, keys_of
from cspine.server.web.records import check_uid
from cspine.server.web.security.access import Context, Uploader
from cspine.server.web.security.identity import Identity

router = APIRouter(prefix="/dicom-web", tags=["STOW-RS"])

_FAILURE_REASONS: Final = {
    "not-dicom": 0xC000,  # cannot understand
    "no-uid": 0xC000,
    "sop-class": 0x0122,  # SOP class not supported
    "mismatch": 0xA900,  # data set does not match
    "too-large": 0xA700,  # out of resources
    "media-type": 0x0110,  # processing failure
    "storage": 0xA700,
}
"""Failure Reason (0008,1197) by why an object is not accepted (PS3.18, table I.2-2)."""

_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    202: {"description": "Some objects were not stored; the body tells which."},
    409: {"description": "No object was stored; the body tells why."},
    413: {"description": "The objects are too large."},
    507: {"description": "No space is left; send the objects again later."},
}


@router.post("/studies", responses=_RESPONSES)
async def store(request: Request, context: Context, identity: Uploader) -> Response:
    """Store objects of any study."""
    return await _store(request, context, identity, None)


@router.post("/studies/{study}", responses=_RESPONSES)
async def store_study(study: str, request: Request, context: Context, identity: Uploader) -> Response:
    """Store objects of one study."""
    check_uid(study)
    return await _store(request, context, identity, study)


async def _store(request: Request, context: WebContext, identity: Identity, study: str | None) -> Response:
    require_json(request)
    outcomes: list[Outcome] = []
    failure: HttpError | None = None
    try:
        await _receive_parts(request, context, identity, study, outcomes)
    except HttpError as error:
        if not any(each.received for each in outcomes) or error.status_code < 500:
            raise
        failure = error  # some objects are stored and acknowledged as such
        outcomes.append(Outcome(reason="storage"))
    if not outcomes:
        raise HttpError(400, "the message has no parts; send one for each object")
    for key in keys_of(outcomes):
        context.audit.record_access(identity.name, "study.receive", key)
    if failure is None:
        await run_in_threadpool(complete_studies, context, outcomes, source=f"http:{identity.name}")
    status = _status(outcomes)
    headers = failure.headers if failure is not None else None
    return Response(encode(_answer(request, outcomes)), status, headers, DICOM_JSON)


async def _receive_parts(
    request: Request, context: WebContext, identity: Identity, study: str | None, outcomes: list[Outcome]
) -> None:
    boundary = _boundary(request)
    with ExitStack() as stack:
        arriving: ArrivingObject | None = None
        async for event in read_parts(request.stream(), boundary):
            if isinstance(event, PartHead):
                stack.close()
                kind = parse_media_types(event.headers.get("content-type", DICOM))
                is_dicom = bool(kind) and kind[0].name == DICOM
                arriving = stack.enter_context(ArrivingObject(context)) if is_dicom else None
            elif isinstance(event, PartEnd):
                if arriving is None:
                    outcomes.append(Outcome(reason="media-type"))
                    continue
                outcomes.append(
                    await run_in_threadpool(arriving.receive, source=f"http:{identity.name}", study_instance_uid=study)
                )
            elif arriving is not None:
                arriving.write(event)


def _boundary(request: Request) -> str:
    """Return the boundary of a message of DICOM objects.

    Raises
    ------
    HttpError
        415: it is of another type.
    """
    kinds = parse_media_types(request.headers.get("content-type", ""))
    if not kinds or kinds[0].name != MULTIPART or kinds[0].part_type not in {DICOM, "*/*"}:
        raise HttpError(415, f'objects are received as {MULTIPART}; type="{DICOM}"; send them so')
    return kinds[0].parameters.get("boundary", "")


def _status(outcomes: list[Outcome]) -> int:
    """Return the status of the response (PS3.18, table 10.5.3-1)."""
    reasons = {each.reason for each in outcomes if each.received is None}
    if not reasons:
        return 200
    if any(each.received for each in outcomes):
        return 202
    return 413 if reasons == {"too-large"} else 409


def _answer(request: Request, outcomes: list[Outcome]) -> dict[str, Any]:
    """Return the response's data set (PS3.18, annex I)."""
    stored, failed, others = [], [], []
    studies = set()
    for each in outcomes:
        item = {
            "00081150": {"vr": "UI", "Value": [each.sop_class_uid]},
            "00081155": {"vr": "UI", "Value": [each.sop_instance_uid]},
        }
        if each.received is not None:
            header = each.received.header
            uids = header.study_instance_uid, header.series_instance_uid, header.sop_instance_uid
            studies.add(header.study_instance_uid)
            stored.append(item | {"00081190": {"vr": "UR", "Value": [retrieve_url(request, *uids)]}})
            continue
        reason = {"00081197": {"vr": "US", "Value": [_FAILURE_REASONS[each.reason]]}}
        if each.sop_class_uid and each.sop_instance_uid:
            failed.append(item | reason)
        else:
            others.append(reason)
    answer: dict[str, Any] = {}
    if len(studies) == 1:
        answer["00081190"] = {"vr": "UR", "Value": [retrieve_url(request, studies.pop())]}
    for tag, items in (("00081198", failed), ("00081199", stored), ("0008119A", others)):
        if items:
            answer[tag] = {"vr": "SQ", "Value": items}
    return answer
