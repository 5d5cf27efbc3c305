"""An acceptance test: send, wait, compare."""

import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import Field
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from cspine.core.anatomy import RESEARCH_USE_ONLY
from cspine.core.errors import InputError
from cspine.core.settings import Settings
from cspine.server.acceptance.answers import Answer, AnswerSource, ArchiveAnswers, LevelAnswer, ServerAnswers
from cspine.server.acceptance.study import (
    MIN_VISIBILITY,
    AcceptanceStudy,
    ExpectedFracture,
    make_phantom,
    make_virtual,
)
from cspine.server.delivery.c_store import store_files, verify
from cspine.server.delivery.outgoing import DeliveryError, OutgoingObject
from cspine.server.settings import AeTitle, DestinationSettings, TlsSettings

_POLL_S: Final = 1.0


class AcceptanceSettings(Settings):
    """What an acceptance test sends, where to, and where it looks for the answer."""

    host: str = Field("127.0.0.1", description="Host of the node, or of the PACS that forwards to it.")
    port: int = Field(11112, ge=1, le=65535, description="Its port.")
    called: AeTitle = Field("CSPINE", description="Its AE title.")
    calling: AeTitle = Field("ACCEPTANCE", description="Our AE title, which has to be in the node's list.")
    tls: TlsSettings | None = Field(None, description="Certificates; plain DICOM where null.")
    server: str | None = Field(None, description="URL of the server's HTTP interface.")
    server_token: str | None = Field(None, description="File, or `env:NAME`, of a token with the role reader.")
    archive: str | None = Field(None, description="URL of the DICOMweb archive that the server sends to.")
    archive_token: str | None = Field(None, description="File, or `env:NAME`, of its bearer token.")
    scan: Path | None = Field(None, description="An intact scan of the site; a phantom where null.")
    vertebrae: Path | None = Field(None, description="Segmentation of that scan, in the localizer's place.")
    seed: int = Field(0, ge=0, description="Seed of the virtual fracture.")
    timeout_s: float = Field(900.0, gt=0.0, description="Longest time from the last object to the answer.")
    max_distance_mm: float = Field(10.0, gt=0.0, description="Largest distance of the evidence from the fracture.")


@dataclass(frozen=True)
class SourceReport:
    """What came back at one place.

    Attributes
    ----------
    source : str
        ``server`` or ``archive``.
    is_good : bool
        Whether an obvious fracture was found there, in level and place, and in time.
    message : str
        Why not, or what was found.
    seconds : float or None
        From the acknowledgement of the last object to the answer.
    levels : list of dict
        Expected fractures: level, type, probability, whether suspicious, distance of the evidence in mm.
    false_alarms : list of str
        Suspicious levels without a fracture.
    """

    source: str
    is_good: bool
    message: str
    seconds: float | None = None
    levels: list[dict[str, Any]] = field(default_factory=list)
    false_alarms: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class AcceptanceReport:
    """Result of `run_acceptance`."""

    is_good: bool
    study_instance_uid: str
    kind: str
    n_objects: int
    send_s: float
    sources: list[SourceReport]
    notice: str = RESEARCH_USE_ONLY

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON can hold it."""
        return asdict(self)


def run_acceptance(settings: AcceptanceSettings) -> AcceptanceReport:
    """Send a test study and compare its answer with the truth.

    Raises
    ------
    InputError
        There is nowhere to look for the answer, the scan cannot be used, or the node does not take the study.
    """
    sources: list[AnswerSource] = []
    if settings.server is not None:
        sources.append(ServerAnswers(settings.server, settings.server_token))
    if settings.archive is not None:
        sources.append(ArchiveAnswers(settings.archive, settings.archive_token))
    if not sources:
        raise InputError("there is nowhere to look for the answer; give --server or --archive")
    with _named(settings):  # before a study is made for it
        verify(_node(settings))
    run = uuid.uuid4().hex
    with tempfile.TemporaryDirectory(prefix="cspine-acceptance-") as name:
        if settings.scan is None:
            study = make_phantom(Path(name), run)
        else:
            study = make_virtual(settings.scan, Path(name), run, seed=settings.seed, vertebrae=settings.vertebrae)
        begin = time.monotonic()
        _send(settings, study)
        sent = time.monotonic()
    answers = _wait(sources, study, sent, settings.timeout_s)
    reports = [compare(name, study, answer, settings.max_distance_mm) for name, answer in answers]
    return AcceptanceReport(
        is_good=all(each.is_good for each in reports),
        study_instance_uid=study.study_uid,
        kind="phantom" if settings.scan is None else "virtual fracture",
        n_objects=len(study.files),
        send_s=round(sent - begin, 2),
        sources=reports,
    )


@dataclass(frozen=True)
class Arrival:
    """An answer, or why there is none, and when it came."""

    answer: Answer | None
    seconds: float | None
    error: str = ""


def compare(source: str, study: AcceptanceStudy, arrival: Arrival, max_distance_mm: float) -> SourceReport:
    """Return whether an answer names an obvious fracture, at its place.

    One is enough. Further fractures and false alarms are reported, and do not decide: how many a network finds is
    measured on many studies (`cspine evaluate`); an acceptance test is about the way.
    """
    answer = arrival.answer
    if answer is None:
        message = f"no answer in time{f' ({arrival.error})' if arrival.error else ''}"
        return SourceReport(source, is_good=False, message=message)
    if answer.state != "done":
        message = f"{answer.state.replace('_', ' ')}: {answer.reason}"
        return SourceReport(source, is_good=False, message=message, seconds=arrival.seconds)
    by_level = {each.level: each for each in answer.levels}
    rows = [_row(fracture, by_level.get(fracture.level)) for fracture in study.fractures]
    expected = {each.level for each in study.fractures}
    false_alarms = sorted(each.level for each in answer.levels if each.is_suspicious and each.level not in expected)
    wrong = _what_is_wrong(rows, max_distance_mm)
    return SourceReport(source, not wrong, wrong or "found", arrival.seconds, rows, false_alarms)


def _row(fracture: ExpectedFracture, found: LevelAnswer | None) -> dict[str, Any]:
    point = found.point_lps_mm if found is not None else None
    distance = fracture.distance_mm(point) if point is not None else None
    return {
        "level": fracture.level,
        "fracture_type": fracture.fracture_type,
        "visibility": round(fracture.visibility, 2),
        "is_suspicious": found is not None and found.is_suspicious,
        "probability": found.probability if found is not None else None,
        "distance_mm": round(distance, 1) if distance is not None else None,
    }


def _what_is_wrong(rows: Sequence[dict[str, Any]], max_distance_mm: float) -> str:
    """Return what is wrong with an answer; nothing where it finds one obvious fracture at its place."""
    found = [row for row in rows if row["visibility"] >= MIN_VISIBILITY and row["is_suspicious"]]
    if not found:
        return "no obvious fracture was found"
    distances = [row["distance_mm"] for row in found if row["distance_mm"] is not None]
    if not distances:
        return "the level is right, but the answer has no place"
    if min(distances) > max_distance_mm:
        return f"the level is right, but the evidence is {min(distances):.0f} mm from the fracture"
    return ""


def _node(settings: AcceptanceSettings) -> DestinationSettings:
    return DestinationSettings(
        name="node", kind="dicom", host=settings.host, port=settings.port, ae_title=settings.called,
        calling_ae_title=settings.calling, tls=settings.tls,
    )  # fmt: skip


@contextmanager
def _named(settings: AcceptanceSettings) -> Iterator[None]:
    """Name the node where it cannot be used."""
    try:
        yield
    except DeliveryError as error:
        node = f"{settings.called} at {settings.host}:{settings.port}"
        raise InputError(f"{node}: {str(error).replace('the destination', 'the node')}") from error


def _send(settings: AcceptanceSettings, study: AcceptanceStudy) -> None:
    objects = [OutgoingObject(path, CTImageStorage, "", ExplicitVRLittleEndian) for path in study.files]
    with _named(settings):
        store_files(_node(settings), objects)


def _wait(
    sources: Sequence[AnswerSource], study: AcceptanceStudy, sent: float, timeout_s: float
) -> list[tuple[str, Arrival]]:
    """Return what each source has, once every one has an answer or the time is over."""
    arrivals: dict[str, Arrival] = {source.name: Arrival(None, None) for source in sources}
    while True:
        for source in sources:
            if arrivals[source.name].answer is None:
                arrivals[source.name] = _look(source, study, sent)
        is_over = time.monotonic() - sent > timeout_s
        if is_over or all(each.answer is not None for each in arrivals.values()):
            return list(arrivals.items())
        time.sleep(_POLL_S)


def _look(source: AnswerSource, study: AcceptanceStudy, sent: float) -> Arrival:
    try:
        answer = source.look(study)
    except (DeliveryError, ValueError, KeyError) as error:
        return Arrival(None, None, str(error))
    return Arrival(answer, round(time.monotonic() - sent, 1) if answer is not None else None)
