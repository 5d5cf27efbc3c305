"""The HTTP interface of a server, run on loopback for a test."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from cspine.classification.result import CaseResult
from cspine.reports.dicom.objects import write_dicom
from cspine.reports.html import write_report
from cspine.server.database.engine import Database, utc_now
from cspine.server.database.studies import add_job, find_study
from cspine.server.database.tables import Job, JobState
from cspine.server.web.app import create_app
from cspine.server.web.service import make_server
from tests.support.server import ServerParts

READER, OPERATOR = "reader-token-of-the-tests", "operator-token-of-the-tests"

TOKENS = [
    {"name": "ward", "sha256": hashlib.sha256(READER.encode()).hexdigest(), "roles": ["reader"]},
    {"name": "admin", "sha256": hashlib.sha256(OPERATOR.encode()).hexdigest(), "roles": ["reader", "operator"]},
]


@dataclass(frozen=True)
class WebServer:
    """A server that answers on loopback."""

    url: str
    parts: ServerParts
    session: requests.Session = field(default_factory=requests.Session)

    def call(self, method: str, path: str, *, token: str | None = None, **options: Any) -> requests.Response:
        """Send a request; redirects are not followed."""
        headers = {**options.pop("headers", {}), **({"Authorization": f"Bearer {token}"} if token else {})}
        return self.session.request(
            method, f"{self.url}{path}", headers=headers, timeout=60, allow_redirects=False, **options
        )

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.call("GET", path, **options)

    def post(self, path: str, **options: Any) -> requests.Response:
        return self.call("POST", path, **options)


@contextmanager
def running_web(parts: ServerParts) -> Iterator[WebServer]:
    """Serve HTTP on a free port of loopback."""
    web = parts.settings.web.model_copy(update={"port": 0})
    server = make_server(web, create_app(parts.settings, parts.database, parts.spool))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        until = time.monotonic() + 20.0
        while not server.started:
            assert thread.is_alive(), "the server has ended"
            assert time.monotonic() < until
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        with requests.Session() as session:
            yield WebServer(f"http://127.0.0.1:{port}", parts, session)
    finally:
        server.should_exit = True
        thread.join(20)


def multipart(parts: Sequence[bytes], *, kind: str = "application/dicom", boundary: str = "b0undary") -> dict[str, Any]:
    """Return body and headers of a multipart/related request."""
    body = (
        b"".join(f"--{boundary}\r\nContent-Type: {kind}\r\n\r\n".encode() + part + b"\r\n" for part in parts)
        + f"--{boundary}--\r\n".encode()
    )
    return {"data": body, "headers": {"Content-Type": f'multipart/related; type="{kind}"; boundary={boundary}'}}


def store(server: WebServer, paths: Sequence[Path], **options: Any) -> requests.Response:
    """Send files by STOW-RS."""
    message = multipart([path.read_bytes() for path in paths])
    headers = message["headers"] | options.pop("headers", {})
    return server.post("/dicom-web/studies", data=message["data"], headers=headers, **options)


def answer(database: Database, key: str, **values: Any) -> int:
    """Give a study a job with these values, done unless they say otherwise; return its number."""
    with database.session() as session:
        study = find_study(session, key, lock=True)
        assert study is not None
        job: Job = add_job(session, study, utc_now())
        values = {"state": JobState.DONE, "finished_at": utc_now(), **values}
        for name, value in values.items():
            setattr(job, name, value)
        session.flush()
        return job.id


def finish_study(parts: ServerParts, key: str, case_result: CaseResult, job_id: int = 1) -> int:
    """Give a study the results of a prediction, as a worker does; return the number of the job."""
    folder = parts.spool.result_folder(key, job_id, "ab")
    folder.mkdir(parents=True)
    write_report(case_result, folder / "report.html")
    (folder / "findings.json").write_text(case_result.findings.model_dump_json())
    write_dicom(case_result, folder / "dicom")
    overall = case_result.findings.patient_overall
    assert overall is not None
    return answer(
        parts.database,
        key,
        result_folder=parts.spool.relative(folder),
        patient_probability=overall.probability,
        is_suspicious=bool(case_result.findings.suspicious),
        levels=[
            {
                "level": each.level,
                "label": each.level_label,
                "probability": each.probability,
                "is_suspicious": each.is_suspicious,
                "coverage": each.coverage,
            }
            for each in case_result.findings.vertebrae
        ],
    )
