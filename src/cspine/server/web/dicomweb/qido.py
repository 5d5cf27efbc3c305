"""QIDO-RS (PS3.18, 10.6): which studies, series and objects there are."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from fastapi import APIRouter, Request
from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.orm import Session
from starlette.responses import Response

from cspine.server.database.tables import Study
from cspine.server.web.dicomweb import matching
from cspine.server.web.dicomweb.contents import Instance, StudyContents
from cspine.server.web.dicomweb.lookup import contents_of, retrieve_url
from cspine.server.web.dicomweb.matching import Query, parse_query
from cspine.server.web.dicomweb.media_types import DICOM_JSON, require_json
from cspine.server.web.dicomweb.metadata import encode
from cspine.server.web.records import check_uid, version_of
from cspine.server.web.security.access import Context, Reader

router = APIRouter(prefix="/dicom-web", tags=["QIDO-RS"])

_STUDY_COLUMNS: Final = {
    "00080020": ("DA", Study.study_date),
    "00080030": ("TM", Study.study_time),
    "00080050": ("SH", Study.accession_number),
    "00081030": ("LO", Study.study_description),
    "00100010": ("PN", Study.patient_name),
    "00100020": ("LO", Study.patient_id),
    "00100030": ("DA", Study.patient_birth_date),
    "00100040": ("CS", Study.patient_sex),
    "0020000D": ("UI", Study.study_instance_uid),
}
"""Elements of a study that the database holds, which can be matched."""

_MODALITIES: Final = "00080061"
_SERIES_TAGS: Final = frozenset({
    "00080005", "00080060", "0008103E", "0020000D", "0020000E", "00200011", "00201209", "00400244", "00400245",
    "00081190", "00080021", "00080031", "00180015",
})  # fmt: skip
_INSTANCE_TAGS: Final = frozenset({
    "00080005", "00080016", "00080018", "0020000D", "0020000E", "00200013", "00280010", "00280011", "00280100",
    "00280008", "00081190", "00083002",
})  # fmt: skip


@router.get("/studies")
def search_studies(request: Request, context: Context, identity: Reader) -> Response:
    """Return the studies that match."""
    require_json(request)
    query = parse_query(request.query_params.multi_items())
    with context.database.reading() as session:
        studies = session.scalars(_matching_studies(query)) if _may_match_modality(query) else ()
        answers = [_study_attributes(request, session, study) for study in studies]
    context.audit.record_access(identity.name, "studies.search", "")
    return _response([matching.select(each, frozenset(each), query) for each in answers], query)


def _may_match_modality(query: Query) -> bool:
    """Return whether studies of CT are asked for: all are such."""
    wanted = query.matches.get(_MODALITIES)
    return wanted is None or any(part in {"CT", "*"} for part in wanted.replace("\\", ",").split(","))


def _matching_studies(query: Query) -> Select[Any]:
    statement = select(Study).where(Study.n_objects > 0)
    for tag, wanted in query.matches.items():
        if tag in _STUDY_COLUMNS:
            statement = statement.where(_condition(*_STUDY_COLUMNS[tag], wanted))
    newest_first = statement.order_by(Study.received_at.desc(), Study.id.desc())
    return newest_first.offset(query.offset).limit(query.limit)


def _condition(representation: str, column: Any, wanted: str) -> ColumnElement[bool]:  # noqa: ANN401 - a mapped column
    if representation == "UI":
        return _as_condition(column.in_(wanted.replace("\\", ",").split(",")))
    if representation in {"DA", "TM"} and "-" in wanted:
        low, _, high = wanted.partition("-")
        ends = [column != ""]
        ends += [column >= low] if low else []
        ends += [func.substr(column, 1, len(high)) <= high] if high else []
        return and_(*ends)
    pattern = wanted.replace("!", "!!").replace("%", "!%").replace("_", "!_").replace("*", "%").replace("?", "_")
    if representation == "PN":
        plain = func.lower(column).like(pattern.lower(), escape="!")
        return or_(plain, func.lower(column).like(f"{pattern.lower()}=%", escape="!"))
    return _as_condition(column.like(pattern, escape="!") if pattern != wanted else column == wanted)


def _as_condition(expression: ColumnElement[bool]) -> ColumnElement[bool]:
    return expression


def _study_attributes(request: Request, session: Session, study: Study) -> dict[str, Any]:
    attributes: dict[str, Any] = {"00080005": {"vr": "CS", "Value": ["ISO_IR 192"]}}
    for tag, (representation, column) in _STUDY_COLUMNS.items():
        value = getattr(study, column.key)
        attributes[tag] = {"vr": representation}
        if value:
            attributes[tag]["Value"] = [_person(value)] if representation == "PN" else [value]
    has_results = bool(version_of(session, study).result_folder)
    attributes[_MODALITIES] = {"vr": "CS", "Value": ["CT", *(["SR"] if has_results else [])]}
    attributes["00080056"] = {"vr": "CS", "Value": ["ONLINE"]}
    attributes["00201208"] = {"vr": "IS", "Value": [study.n_objects]}
    attributes["00081190"] = {"vr": "UR", "Value": [retrieve_url(request, study.study_instance_uid)]}
    return dict(sorted(attributes.items()))


def _person(name: str) -> dict[str, str]:
    parts = zip(("Alphabetic", "Ideographic", "Phonetic"), name.split("="), strict=False)
    return {kind: part for kind, part in parts if part}


@router.get("/studies/{study}/series")
def search_series(study: str, request: Request, context: Context, identity: Reader) -> Response:
    """Return the series of a study that match."""
    require_json(request)
    query = parse_query(request.query_params.multi_items())
    answers = [
        _series_attributes(request, contents, series, instances)
        for contents in contents_of(context, study, identity.name)
        for series, instances in contents.series.items()
    ]
    return _matched(answers, _SERIES_TAGS, query)


def _series_attributes(
    request: Request, contents: StudyContents, series: str, instances: Sequence[Instance]
) -> dict[str, Any]:
    attributes = instances[0].attributes
    attributes["00201209"] = {"vr": "IS", "Value": [len(instances)]}
    attributes["00081190"] = {"vr": "UR", "Value": [retrieve_url(request, contents.study_instance_uid, series)]}
    return attributes


@router.get("/studies/{study}/instances")
def search_study_instances(study: str, request: Request, context: Context, identity: Reader) -> Response:
    """Return the objects of a study that match."""
    return _search_instances(request, contents_of(context, study, identity.name), None)


@router.get("/studies/{study}/series/{series}/instances")
def search_instances(study: str, series: str, request: Request, context: Context, identity: Reader) -> Response:
    """Return the objects of a series that match."""
    check_uid(series)
    return _search_instances(request, contents_of(context, study, identity.name), series)


def _search_instances(request: Request, studies: Iterable[StudyContents], series: str | None) -> Response:
    require_json(request)
    query = parse_query(request.query_params.multi_items())
    answers = []
    for contents in studies:
        for instance in contents.instances if series is None else contents.series.get(series, []):
            attributes = instance.attributes
            uids = contents.study_instance_uid, instance.series_instance_uid, instance.sop_instance_uid
            attributes["00081190"] = {"vr": "UR", "Value": [retrieve_url(request, *uids)]}
            answers.append(attributes)
    return _matched(answers, _INSTANCE_TAGS, query)


def _matched(answers: Iterable[dict[str, Any]], tags: frozenset[str], query: Query) -> Response:
    matched = [matching.select(each, tags, query) for each in answers if matching.matches(each, query)]
    return _response(matched[query.offset : query.offset + query.limit], query)


def _response(answers: list[dict[str, Any]], query: Query) -> Response:
    """Return the answers; an empty list with status 200, which all clients read."""
    headers = {"Warning": ", ".join(f'299 cspine "{each}"' for each in query.warnings)} if query.warnings else {}
    return Response(encode(answers), media_type=DICOM_JSON, headers=headers)
