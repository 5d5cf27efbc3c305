"""Results that wait for destinations, and servers that take them."""

import shutil
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cspine.reports.dicom.objects import write_dicom
from cspine.reports.fhir.bundle import write_fhir
from cspine.server.database.deliveries import create_deliveries
from cspine.server.database.engine import utc_now
from cspine.server.database.tables import Delivery, Job, JobState, Study
from cspine.server.settings import DestinationSettings
from tests.support.phantom import predict_case, write_phantom
from tests.support.server import ServerParts

LEVELS = [
    {"level": "C5", "label": "C5", "probability": 0.91, "is_suspicious": True, "coverage": "complete"},
    {"level": "C6", "label": "C6", "probability": 0.07, "is_suspicious": False, "coverage": "complete"},
]


def write_result(folder: Path) -> Path:
    """Write what a worker writes of the embedded phantom, and return the folder."""
    case = predict_case(write_phantom(folder / "study"))
    result = folder / "result"
    write_dicom(case, result / "dicom")
    write_fhir(case, result / "fhir.json", "R4")
    return result


def add_job(
    parts: ServerParts, destinations: list[DestinationSettings], result: Path, *, study: str = "1.2.3", **changes: Any
) -> int:
    """Record a job that is done, with a copy of a result, put it into the queues, and return its number."""
    now = utc_now()
    key = f"{abs(hash(study)) % 16**8:08x}" * 4
    with parts.database.session() as session:
        row = session.query(Study).filter_by(key=key).one_or_none() or Study(
            key=key, study_instance_uid=study, patient_id="secret-id", patient_name="Secret^Name",
            received_at=now, last_received_at=now, is_open=False,
        )  # fmt: skip
        job = Job(
            study=row, generation=1, not_before=now, created_at=now, finished_at=now,
            **{"state": JobState.DONE, "is_suspicious": True, "patient_probability": 0.93, "levels": LEVELS} | changes,
        )  # fmt: skip
        session.add_all([row, job])
        session.flush()
        folder = parts.spool.result_folder(key, job.id, "ab")
        shutil.copytree(result, folder)
        job.result_folder = parts.spool.relative(folder)
        create_deliveries(session, job, destinations, now=now)
        return job.id


def deliveries(parts: ServerParts) -> list[Delivery]:
    with parts.database.reading() as session:
        return list(session.query(Delivery).order_by(Delivery.id))


@dataclass
class Request:
    """A request that a `RecordingServer` got."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class RecordingServer:
    """An HTTP server that answers as it is told, and keeps what it gets."""

    port: int = 0
    requests: list[Request] = field(default_factory=list)
    answer: Callable[[Request], tuple[int, dict[str, str], bytes]] = lambda _: (200, {}, b"")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def recording_server() -> Iterator[RecordingServer]:
    """Run a `RecordingServer` on loopback."""
    made = RecordingServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            request = Request(self.path, dict(self.headers), body)
            made.requests.append(request)
            status, headers, answer = made.answer(request)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made.port = int(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def mail_sink() -> Iterator[tuple[int, list[bytes]]]:
    """Run a mail server on loopback; yield its port and the mails that it got."""
    mails: list[bytes] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 sink\r\n")
            while line := self.rfile.readline():
                command = line[:4].upper()
                if command == b"DATA":
                    self.wfile.write(b"354 go on\r\n")
                    lines = []
                    while (part := self.rfile.readline()) != b".\r\n":
                        lines.append(part)
                    mails.append(b"".join(lines))
                self.wfile.write(b"221 bye\r\n" if command == b"QUIT" else b"250 yes\r\n")
                if command == b"QUIT":
                    return

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield int(server.server_address[1]), mails
        finally:
            server.shutdown()
            thread.join()
