"""The property of the HTTP interface that is fuzzed: whatever comes in, it answers, and as it should.

No answer is a failure of the server's own (500), none holds a file from outside of the spool, errors have one form,
what is acknowledged is stored, and nothing half is left.
"""

import io
import json
import random
import re
import socket
import time
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

from cspine.server.spool.folders import object_name
from tests.support.dicom import STUDY_UID
from tests.support.server import write_objects
from tests.support.web import OPERATOR, WebServer, multipart, store

MARKER = "what lies outside of the spool"

_PATIENCE_S, _TIMEOUT_S = 1.5, 30.0
_HEX = "0123456789abcdef"

_PIECES = (
    "..", "../..", "..%2f..%2f", "%2e%2e/", "..\\..\\", "%00", "%0d%0aX-Injected: 1", "/etc/passwd", "~", "", ".",
    "file:///etc/passwd", "outside.txt", "cspine.sqlite", "web-session.key", "'", '"', "<script>", "{{7*7}}", "${7*7}",
    "%", "%%%", "\u202e", "山", "1" * 70, "0" * 32, "a" * 5000, "-1", "0", "1e999", "NaN", "null", "true", "[]",
    "9" * 30, "1.2.3", "*", "?", "_", "1.2.", ".1", "1..2", STUDY_UID, f"{STUDY_UID}.1",
)  # fmt: skip
_PATHS = (
    "/worklist", "/worklist/rows", "/studies/{}", "/studies/{}/rerun", "/studies/{}/urgency", "/jobs/{}/report",
    "/jobs/{}/reviews", "/status", "/static/{}", "/viewer/{}", "/login", "/logout", "/api/studies", "/api/studies/{}",
    "/api/studies/{}/rerun", "/api/jobs", "/api/jobs/{}", "/api/jobs/{}/findings", "/api/jobs/{}/fhir", "/api/reviews",
    "/api/deliveries", "/api/deliveries/{}/retry", "/api/uploads", "/api/openapi.json", "/dicom-web/studies",
    "/dicom-web/studies/{}", "/dicom-web/studies/{}/metadata", "/dicom-web/studies/{}/series",
    "/dicom-web/studies/{}/series/{}/instances", "/dicom-web/studies/{}/series/{}/metadata",
    "/dicom-web/studies/{}/series/{}/instances/{}/frames/{}", "/dicom-web/studies/{}/series/{}/instances/{}/rendered",
    "/dicom-web/studies/{}/series/{}/instances/{}/frames/{}/rendered", "/{}", "/{}/{}", "/metrics", "/ready", "/health",
)  # fmt: skip
_NAMES = (
    "q", "view", "days", "page", "limit", "offset", "after", "state", "accept", "window", "viewport", "quality", "next",
    "includefield", "fuzzymatching", "PatientName", "StudyDate", "StudyInstanceUID", "0020000D", "ModalitiesInStudy",
    "received_after", "destination", "NoElement", "00400275.00400007",
)  # fmt: skip
_ACCEPTS = (
    "*/*", "text/html", "application/dicom+json", 'multipart/related; type="application/dicom"; transfer-syntax=*',
    "multipart/related; type=application/octet-stream", "image/png", "image/jpeg;q=x", ",,;;==", '"', "a" * 4000,
    'multipart/related; type="\\', "application/dicom",
)  # fmt: skip


@dataclass
class Tally:
    """What became of the requests."""

    requests: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    acknowledged: set[str] = field(default_factory=set)


def prepare(server: WebServer, folder: Path) -> list[bytes]:
    """Store a study, write a file beside the spool, and return valid uploads, whose bytes are mutated."""
    (server.parts.spool.folder.parent / "outside.txt").write_text(MARKER)
    paths = write_objects(folder, 3)
    assert store(server, paths, token=OPERATOR).status_code == 200
    contents = [path.read_bytes() for path in paths]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in zip(paths, contents, strict=True):
            archive.writestr(path.name, content)
    message = multipart(contents)
    return [
        _request("POST", "/dicom-web/studies", message["headers"]["Content-Type"], message["data"]),
        _request("POST", f"/dicom-web/studies/{STUDY_UID}", message["headers"]["Content-Type"], message["data"]),
        _request("POST", "/api/uploads", "application/zip", packed.getvalue()),
        _request("POST", "/api/jobs/1/reviews", "application/json", b'{"level": "C2", "verdict": "accept"}'),
        _request("POST", "/login", "application/x-www-form-urlencoded", f"token={OPERATOR}&next=/worklist".encode()),
    ]


def _request(method: str, target: str, kind: str = "", body: bytes = b"", accept: str = "*/*") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {OPERATOR}", f"Accept: {accept}"]
    if kind:
        lines += [f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode("utf-8") + body


def make_request(uploads: Sequence[bytes], chance: random.Random) -> bytes:
    """Return a request: an address of many pieces, or an upload with other bytes."""
    if chance.random() < 0.55:
        path = chance.choice(_PATHS)
        while "{}" in path:
            piece = _piece(chance)
            path = path.replace("{}", piece if chance.random() < 0.5 else quote(piece, safe=""), 1)
        pairs = [
            f"{chance.choice(_NAMES)}={quote(_piece(chance), safe='%' if chance.random() < 0.3 else '')}"
            for _ in range(chance.randrange(4))
        ]
        target = (path + ("?" + "&".join(pairs) if pairs else "")).replace(" ", "%20")
        method = chance.choice(["GET"] * 8 + ["POST", "PUT", "DELETE", "OPTIONS", "HEAD"])
        return _request(method, target, accept=chance.choice(_ACCEPTS))
    head, _, body = chance.choice(uploads).partition(b"\r\n\r\n")
    body = _mutate(body, chance)
    if chance.random() < 0.8:  # a length that is true, so that the body is read
        head = re.sub(rb"Content-Length: \d+", b"Content-Length: %d" % len(body), head)
    if chance.random() < 0.15:
        head = _mutate(head, chance)
    return head + b"\r\n\r\n" + body


def _piece(chance: random.Random) -> str:
    if chance.random() < 0.8:
        return chance.choice(_PIECES)
    return "".join(chance.choice(_HEX + "./%\\;&=<>\"'\u00e9") for _ in range(chance.randrange(40)))


def _mutate(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice([0, 1, 1, 2, 5, 20])):
        if not changed:
            break
        where = chance.randrange(len(changed))
        kind = chance.randrange(5)
        if kind == 0:
            changed[where] = chance.randrange(256)
        elif kind == 1:
            changed[where : where + chance.randrange(1, 64)] = b""
        elif kind == 2:
            changed[where:where] = chance.randbytes(chance.randrange(1, 64))
        elif kind == 3:
            changed[where:where] = changed[where : where + chance.randrange(1, 512)]
        else:
            del changed[where:]
    return bytes(changed)


def run_request(server: WebServer, request: bytes, tally: Tally) -> None:
    """Send a request and hold that its answer is as it should be."""
    answer = _exchange(server, request)
    tally.requests += 1
    if not answer:  # the connection was closed: the request is none of HTTP
        tally.statuses[0] += 1
        return
    head, _, body = answer.partition(b"\r\n\r\n")
    match = re.match(rb"HTTP/1\.1 (\d{3})", head)
    assert match is not None, (request[:500], head[:200])
    status = int(match[1])
    tally.statuses[status] += 1
    assert status < 500, (request[:2000], answer[:500])
    assert MARKER.encode() not in answer, request[:500]
    assert b"root:x:0" not in answer, request[:500]
    assert b"\r\nx-injected" not in head.lower(), request[:500]
    if length := re.search(rb"\r\ncontent-length: (\d+)", head.lower()):
        body = body[: int(length[1])]  # what follows answers bytes after the request
    if status in {200, 202} and request.startswith(b"POST /dicom-web/studies"):
        for item in json.loads(body).get("00081199", {}).get("Value", []):
            tally.acknowledged.add(item["00081155"]["Value"][0])
    if status >= 400 and b"application/json" in head and body:
        assert set(json.loads(body)["error"]) == {"code", "message"}


def _exchange(server: WebServer, request: bytes) -> bytes:
    parts = urlsplit(server.url)
    answer, is_ended = b"", False
    with socket.create_connection((str(parts.hostname), parts.port or 0), timeout=_PATIENCE_S) as connection:
        try:
            connection.sendall(request)
            while True:
                try:
                    piece = connection.recv(65536)
                except TimeoutError:  # the server waits for more, of which the length speaks
                    assert not is_ended, request[:2000]
                    connection.shutdown(socket.SHUT_WR)
                    connection.settimeout(_TIMEOUT_S)
                    is_ended = True
                    continue
                if not piece:
                    break
                answer += piece
        except (ConnectionResetError, BrokenPipeError):
            pass
    return answer


def check(server: WebServer, tally: Tally) -> None:
    """Hold that the server answers still, that what it acknowledged is stored, and that nothing half is left."""
    assert server.get("/health").json() == {"status": "ok"}
    stored = {path.name for path in server.parts.spool.folder.glob("studies/*/*.dcm")}
    assert {object_name(uid) for uid in tally.acknowledged} <= stored
    until = time.monotonic() + _TIMEOUT_S  # the last request may have gone before its end was seen
    while (left := server.parts.spool.incoming_files()) and time.monotonic() < until:
        time.sleep(0.1)
    assert left == []
