"""Where an acceptance test looks for the answer: the server's API, or the archive that the server sends to."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

from dicomweb_client.api import DICOMwebClient
from pydicom import Dataset

from cspine.core.anatomy import SNOMED_CODES
from cspine.reports.dicom.codes import (
    ASSESSMENT,
    ASSESSMENTS,
    FINDING_SITE,
    FRACTURE,
    MEASUREMENTS,
    QUALITATIVE_EVALUATIONS,
)
from cspine.reports.dicom.codes import PROBABILITY as PROBABILITY_CODE
from cspine.server.acceptance.study import PATIENT_ID, AcceptanceStudy
from cspine.server.delivery.http import get, open_session
from cspine.server.settings import DestinationSettings
from cspine.server.spool.folders import storage_key

_LEVELS: Final = {code: level for level, (code, _) in SNOMED_CODES.items()}
_SUSPICIOUS: Final = {ASSESSMENTS[name].value for name in ASSESSMENTS if name not in {None, "rule-out"}}
_FINDING: Final = "121071"
_OK: Final = 200


@dataclass(frozen=True)
class LevelAnswer:
    """What an answer says of one level.

    Attributes
    ----------
    level : str
        C1 to C7.
    is_suspicious : bool
        Whether it reaches the triage point.
    probability : float or None
        Of a fracture.
    point_lps_mm : tuple of float or None
        Where the strongest evidence is.
    """

    level: str
    is_suspicious: bool
    probability: float | None = None
    point_lps_mm: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Answer:
    """An answer.

    Attributes
    ----------
    state : str
        ``done``, ``not_assessable`` or ``failed``.
    reason : str
        Why there are no levels.
    levels : tuple of LevelAnswer
        One for each level that is named.
    """

    state: str
    reason: str = ""
    levels: tuple[LevelAnswer, ...] = ()


class AnswerSource(Protocol):
    """Where answers are looked for."""

    name: str

    def look(self, study: AcceptanceStudy) -> Answer | None:
        """Return the answer; None while there is none. Raises `DeliveryError` where the source cannot be asked."""


class ServerAnswers:
    """The HTTP interface of `cspine serve`.

    Parameters
    ----------
    url : str
        Its address.
    token : str, optional
        File or ``env:NAME`` of a token with the role reader.
    timeout_s : float
        Of a request.
    """

    name = "server"

    def __init__(self, url: str, token: str | None = None, timeout_s: float = 30.0) -> None:
        self._url = url.rstrip("/")
        self._access = DestinationSettings(name="server", kind="webhook", url=url, token=token, timeout_s=timeout_s)

    def look(self, study: AcceptanceStudy) -> Answer | None:
        """Return the answer of the study's last job, once it has ended."""
        with open_session(self._access) as session:
            key = storage_key(study.study_uid, PATIENT_ID)
            status, body = get(session, self._access, f"{self._url}/api/studies/{key}")
            jobs = json.loads(body)["jobs"] if status == _OK else []
            if not jobs or jobs[0]["state"] in {"complete", "running"}:
                return None
            job = jobs[0]
            if job["state"] != "done":
                return Answer(job["state"], job["error"] or job["code"])
            status, body = get(session, self._access, f"{self._url}/api/jobs/{job['id']}/findings")
        return read_findings(json.loads(body)) if status == _OK else None


class ArchiveAnswers:
    """A DICOMweb archive to which the server sends.

    Parameters
    ----------
    url : str
        Address of QIDO-RS and WADO-RS.
    token : str, optional
        File or ``env:NAME`` of a bearer token.
    timeout_s : float
        Of a request.
    """

    name = "archive"

    def __init__(self, url: str, token: str | None = None, timeout_s: float = 30.0) -> None:
        self._access = DestinationSettings(name="archive", kind="stow", url=url, token=token, timeout_s=timeout_s)

    def look(self, study: AcceptanceStudy) -> Answer | None:
        """Return what the study's structured report says, once it is there."""
        url = (self._access.url or "").rstrip("/")
        with open_session(self._access) as session:
            status, body = get(session, self._access, f"{url}/studies/{study.study_uid}/series?Modality=SR")
            series = json.loads(body) if status == _OK and body else []
            if not series:
                return None
            client = DICOMwebClient(url, session=session)
            for each in series:
                for document in client.retrieve_series(study.study_uid, each["0020000E"]["Value"][0]):
                    return read_report(document)
        return None


def read_findings(findings: dict[str, Any]) -> Answer:
    """Return the answer of a ``findings.json``."""
    if findings.get("not_assessable"):
        return Answer("not_assessable", findings["not_assessable"]["reason"])
    levels = []
    for each in findings["vertebrae"]:
        evidence = sorted(each.get("evidence", ()), key=lambda part: -part["strength"])
        point = tuple(evidence[0]["point_lps_mm"]) if evidence else None
        is_suspicious = "triage" in each["operating_points_reached"]
        levels.append(LevelAnswer(each["level"], is_suspicious, each["probability"], point))
    return Answer("done", levels=tuple(levels))


def read_report(document: Dataset) -> Answer:
    """Return the answer of a structured report."""
    groups = [item for part in document.ContentSequence for item in _items(part)]
    levels = tuple(level for item in groups if (level := _level(item)) is not None)
    return Answer("done", levels=levels) if levels else Answer("not_assessable", "the report names no level")


def _items(container: Dataset) -> Iterator[Dataset]:
    if container.ValueType == "CONTAINER" and _code(container) in {MEASUREMENTS.value, QUALITATIVE_EVALUATIONS.value}:
        yield from container.ContentSequence


def _level(item: Dataset) -> LevelAnswer | None:
    """Return what a group or an item says of a level; None where it is about none."""
    parts = [item, *item.get("ContentSequence", ())]
    codes = {_code(each): each.ConceptCodeSequence[0].CodeValue for each in parts if each.ValueType == "CODE"}
    level = _LEVELS.get(codes.get(FINDING_SITE.value, ""))
    if level is None:
        return None
    numbers = [each for each in parts if each.ValueType == "NUM" and _code(each) == PROBABILITY_CODE.value]
    points = [each.GraphicData for each in parts if each.ValueType == "SCOORD3D"]
    return LevelAnswer(
        level,
        codes.get(_FINDING) == FRACTURE.value or codes.get(ASSESSMENT.value) in _SUSPICIOUS,
        float(numbers[0].MeasuredValueSequence[0].NumericValue) if numbers else None,
        (float(points[0][0]), float(points[0][1]), float(points[0][2])) if points else None,
    )


def _code(item: Dataset) -> str:
    name = item.get("ConceptNameCodeSequence")
    return str(name[0].CodeValue) if name else ""
