"""From the UIDs of an address to objects of the spool; no path is ever made of a UID."""

from collections.abc import Sequence

from starlette.requests import Request

from cspine.server.web.context import WebContext, context_of
from cspine.server.web.dicomweb.contents import Instance, StudyContents
from cspine.server.web.errors import HttpError
from cspine.server.web.records import check_uid, versions_with_uid


def contents_of(context: WebContext, study_instance_uid: str, user: str) -> list[StudyContents]:
    """Return what the studies with a UID hold: one, unless two patients have studies with the same.

    Raises
    ------
    HttpError
        404: there is no such study. 400: it is no UID.
    """
    with context.database.reading() as session:
        versions = versions_with_uid(session, study_instance_uid)
    for version in versions:
        context.audit.record_access(user, "study.view", version.key)
    return [context.contents.get(version) for version in versions]


def instances_of(
    context: WebContext, study: str, user: str, *, series: str | None = None, instance: str | None = None
) -> Sequence[Instance]:
    """Return the objects that an address names: of a study, of a series, or one.

    Raises
    ------
    HttpError
        404: there are none. 400: a part is no UID.
    """
    for uid in (series, instance):
        if uid is not None:
            check_uid(uid)
    found = [
        each
        for contents in contents_of(context, study, user)
        for each in (contents.instances if series is None else contents.series.get(series, ()))
        if (instance is None or each.sop_instance_uid == instance) and each.path.exists()
    ]
    if not found:
        raise HttpError(404, "there are no such objects; they may have been removed")
    return found


def retrieve_url(request: Request, study: str, series: str = "", instance: str = "") -> str:
    """Return the address of a study, series or object; by HTTPS where clients reach the server so."""
    root = str(request.base_url).rstrip("/")
    if context_of(request).authenticator.is_secure:
        root = root.replace("http://", "https://", 1)
    path = f"{root}/dicom-web/studies/{study}"
    path += f"/series/{series}" if series else ""
    return path + (f"/instances/{instance}" if instance else "")
