"""OHIF's pages on loopback, with a DICOMweb server behind the same port, as a reverse proxy would serve them."""

import mimetypes
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Final

_CONFIG: Final = b"""
const root = `${window.location.origin}/dicom-web`;
window.config = {
  routerBasename: '/', extensions: [], modes: [], showStudyList: true, maxNumberOfWebWorkers: 1,
  showWarningMessageForCrossOrigin: false, showCPUFallbackMessage: false,
  investigationalUseDialog: { option: 'never' }, defaultDataSourceName: 'orthanc',
  dataSources: [{
    namespace: '@ohif/extension-default.dataSourcesModule.dicomweb', sourceName: 'orthanc',
    configuration: {
      friendlyName: 'Orthanc', name: 'orthanc', wadoUriRoot: root, qidoRoot: root, wadoRoot: root,
      qidoSupportsIncludeField: false, imageRendering: 'wadors', thumbnailRendering: 'wadors',
      enableStudyLazyLoad: true, supportsFuzzyMatching: false, supportsWildcard: true,
      omitQuotationForMultipartRequest: true, bulkDataURI: { enabled: true },
    },
  }],
};
"""
_TYPES: Final = {".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm"}


@contextmanager
def running_ohif(site: Path, dicomweb_port: int) -> Iterator[str]:
    """Serve the pages of a folder, and what lies below ``/dicom-web`` of a port of this machine; yield the address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.split("?")[0]
            if path.startswith("/dicom-web/"):
                self._answer(*self._dicomweb())
            elif path == "/app-config.js":
                self._answer(200, _TYPES[".js"], _CONFIG)
            else:
                file = site / path.lstrip("/")
                if not file.is_file():  # a route of the application
                    file = site / "index.html"
                guessed = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
                self._answer(200, _TYPES.get(file.suffix, guessed), file.read_bytes())

        def _dicomweb(self) -> tuple[int, str, bytes]:
            connection = HTTPConnection("127.0.0.1", dicomweb_port, timeout=120)
            try:
                headers = {name: self.headers[name] for name in ("Accept", "Host") if self.headers[name]}
                connection.request("GET", self.path, headers=headers)
                answer = connection.getresponse()
                return answer.status, answer.getheader("Content-Type") or "", answer.read()
            finally:
                connection.close()

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Say nothing of connections that the browser has closed."""

    with Server(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
