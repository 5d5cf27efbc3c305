"""A DICOMweb archive on loopback that answers as it is told, also wrongly."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pydicom


@dataclass
class Answer:
    """An answer; with `pieces` its body has no length and ends when they do."""

    status: int = 200
    kind: str = "application/dicom+json"
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    pieces: Iterator[bytes] | None = None


@dataclass
class Archive:
    """A running archive.

    Attributes
    ----------
    files : dict of str to bytes
        Instances by SOPInstanceUID.
    datasets : dict of str to Dataset
        Their headers.
    page_limit : int
        Studies that an answer to a search holds at most.
    requests : list of (str, dict)
        Path and headers of every request.
    change : callable
        What it answers to a path instead of the right answer.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    datasets: dict[str, pydicom.Dataset] = field(default_factory=dict)
    page_limit: int = 1000
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    change: Callable[[str, Answer], Answer] = lambda path, answer: answer  # noqa: ARG005

    def store(self, paths: Sequence[Path], **attributes: str) -> None:
        for path in paths:
            dataset = pydicom.dcmread(path)
            for keyword, value in attributes.items():
                setattr(dataset, keyword, value)
            dataset.save_as(path)
            self.files[dataset.SOPInstanceUID] = path.read_bytes()
            self.datasets[dataset.SOPInstanceUID] = dataset

    def paths(self, part: str) -> list[str]:
        """Return the paths of the requests that hold a text."""
        return [path for path, _ in self.requests if part in path]

    def answer(self, path: str, query: dict[str, list[str]]) -> Answer:
        names = path.strip("/").split("/")[1:]
        if names[-1] == "metadata":
            return self._json([each for each in self.datasets.values() if each.SeriesInstanceUID == names[3]])
        if names[-1] == "series":
            return self._json(self._one_each("SeriesInstanceUID", StudyInstanceUID=names[1]))
        if names[-1] == "studies":
            keys = {key: value[0] for key, value in query.items() if key not in {"limit", "offset", "includefield"}}
            found = self._one_each("StudyInstanceUID", **keys)[int(query["offset"][0]) :]
            return self._json(found[: min(int(query["limit"][0]), self.page_limit)])
        if "instances" in names and names[-1] in self.files:
            body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + self.files[names[-1]] + b"\r\n--b--"
            return Answer(kind='multipart/related; type="application/dicom"; boundary=b', body=body)
        return Answer(404)

    def _one_each(self, keyword: str, **keys: str) -> list[pydicom.Dataset]:
        matching = [
            each for each in self.datasets.values() if all(str(each.get(key)) == value for key, value in keys.items())
        ]
        return list({each[keyword].value: each for each in matching}.values())

    @staticmethod
    def _json(datasets: list[pydicom.Dataset]) -> Answer:
        if not datasets:
            return Answer(204)
        left_out = {"PixelData"}
        found = [
            {
                tag: element
                for tag, element in dataset.to_json_dict(bulk_data_threshold=1, bulk_data_element_handler=_uri).items()
                if tag not in left_out
            }
            for dataset in datasets
        ]
        return Answer(body=json.dumps(found).encode())


def _uri(_: Any) -> str:
    return "bulk"


@contextmanager
def running_archive() -> Iterator[Archive]:
    """Run an empty archive."""
    archive = Archive()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            archive.requests.append((self.path, dict(self.headers)))
            answer = archive.change(self.path, archive.answer(parts.path, parse_qs(parts.query)))
            self.send_response(answer.status)
            headers = {"Content-Type": answer.kind, "Content-Length": str(len(answer.body)), **answer.headers}
            if answer.pieces is not None:
                del headers["Content-Length"]
                headers["Connection"] = "close"
                self.close_connection = True
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                for piece in answer.pieces if answer.pieces is not None else [answer.body]:
                    self.wfile.write(piece)
            except OSError:  # the client has seen enough
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    archive.url = f"dicomweb+http://127.0.0.1:{server.server_port}/dicom-web"
    try:
        yield archive
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
