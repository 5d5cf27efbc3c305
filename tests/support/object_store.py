"""An S3 server on loopback: moto's, which keeps objects in memory and speaks the protocol of the real one."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cspine.core.storage.store import forget_stores

BUCKET = "hospital"

Application = Callable[[dict[str, Any], Callable[..., Any]], Any]


@dataclass
class ObjectStore:
    """A running server.

    Attributes
    ----------
    url : str
        Its endpoint.
    latency_s : float
        How long it waits before it answers a request.
    requests : list of (str, str, str)
        Method, path and range of every request.
    answers : callable
        Status by which a request of a method and a path is answered at once; None for the server's own answer.
    most_at_once : int
        Most requests that were under way at the same time.
    """

    url: str = ""
    latency_s: float = 0.0
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    answers: Callable[[str, str], int | None] = lambda method, path: None  # noqa: ARG005
    most_at_once: int = 0
    _at_once: int = 0
    _lock: Any = field(default_factory=threading.Lock)

    @property
    def client(self) -> Any:
        return pytest.importorskip("boto3").client("s3", endpoint_url=self.url)

    def upload(self, folder: Path, prefix: str) -> str:
        """Store the files below a folder; return the URL that they lie below."""
        client = self.client
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            client.put_object(Bucket=BUCKET, Key=f"{prefix}/{path.relative_to(folder)}", Body=path.read_bytes())
        return f"s3://{BUCKET}/{prefix}"

    def wrap(self, application: Application) -> Application:
        """Return an application that counts, delays and fails requests before it passes them on."""

        def counted(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
            method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
            with self._lock:
                self.requests.append((method, path, environ.get("HTTP_RANGE", "")))
                self._at_once += 1
                self.most_at_once = max(self.most_at_once, self._at_once)
            try:
                time.sleep(self.latency_s)
                status = self.answers(method, path)
                if status is not None:
                    start_response(f"{status} Refused", [("Content-Length", "0")])
                    return [b""]
                return application(environ, start_response)
            finally:
                with self._lock:
                    self._at_once -= 1

        return counted


def quiet_handler() -> Any:
    """Return the class that handles requests: it keeps connections, as the real server does, and logs nothing."""
    from werkzeug.serving import WSGIRequestHandler

    class Quiet(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"

        def log(self, *_: Any, **__: Any) -> None:
            pass

    return Quiet


@contextmanager
def running_object_store(patch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """Run an empty server with one bucket, which the environment names as that of S3."""
    moto = pytest.importorskip("moto.server")
    from moto.backends import get_backend
    from werkzeug.serving import make_server

    get_backend("s3").reset()  # objects belong to the process
    store = ObjectStore()
    application = store.wrap(moto.DomainDispatcherApplication(moto.create_backend_app))
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=quiet_handler())
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    store.url = f"http://127.0.0.1:{server.server_port}"
    for name, value in {
        "AWS_ENDPOINT_URL": store.url,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "test-key",
        "AWS_SECRET_ACCESS_KEY": "test-secret",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        patch.setenv(name, value)
    forget_stores()
    try:
        store.client.create_bucket(Bucket=BUCKET)
        yield store
    finally:
        forget_stores()
        server.shutdown()
        server.server_close()
        thread.join(10)


@pytest.fixture
def object_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """An empty S3 server, which the environment names."""
    with running_object_store(monkeypatch) as store:
        yield store
