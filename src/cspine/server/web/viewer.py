"""OHIF on the server's own address: its files as they are, with our DICOMweb as its source of data.

The npm package is built for the root of a site. The addresses in its page and styles, and the path that its bundles
and workers load others from, are changed to ``/viewer/`` when they are read.
"""

import mimetypes
import re
from functools import lru_cache
from pathlib import Path
from typing import Final

from fastapi import APIRouter
from starlette.responses import FileResponse, Response

from cspine.core.anatomy import RESEARCH_USE_ONLY
from cspine.server.web.errors import HttpError
from cspine.server.web.security.access import Context, Reader
from cspine.server.web.security.headers import VIEWER_POLICY

router = APIRouter(include_in_schema=False)

ROOT: Final = "/viewer/"

_CONFIGURATION: Final = """
const root = `${window.location.origin}/dicom-web`;
window.config = {
  routerBasename: '/viewer', extensions: [], modes: [], showStudyList: true, maxNumberOfWebWorkers: 3,
  showWarningMessageForCrossOrigin: false, showCPUFallbackMessage: true, investigationalUseDialog: { option: 'never' },
  defaultDataSourceName: 'cspine',
  dataSources: [{
    namespace: '@ohif/extension-default.dataSourcesModule.dicomweb', sourceName: 'cspine',
    configuration: {
      friendlyName: 'cspine. STATEMENT', name: 'cspine', wadoUriRoot: root, qidoRoot: root, wadoRoot: root,
      qidoSupportsIncludeField: true, imageRendering: 'wadors', thumbnailRendering: 'wadors',
      enableStudyLazyLoad: true, supportsFuzzyMatching: false, supportsWildcard: true, staticWado: false,
      singlepart: false, omitQuotationForMultipartRequest: true, bulkDataURI: { enabled: false },
    },
  }],
};
""".replace("STATEMENT", RESEARCH_USE_ONLY)

_TYPES: Final = {".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm"}
_PUBLIC_PATH: Final = re.compile(rb'(\.p\s*=\s*)"/"')
_STYLE_ADDRESS: Final = re.compile(rb"""(url\(["']?)/(?!/)""")
_MOVED: Final = frozenset({".html", ".css", ".js"})
_ROOTED: Final = re.compile(rb'((?:href|src|content)=)"/(?=[^/"])')
_HEADERS: Final = {
    "Content-Security-Policy": VIEWER_POLICY,
    "Cross-Origin-Embedder-Policy": "require-corp",  # with the opener's policy: shared memory, which volumes need
    "Cache-Control": "private, max-age=3600",
}


@router.get("/viewer/{path:path}")
def show_viewer(path: str, context: Context, _: Reader) -> Response:
    """Return a file of OHIF; of its own routes its page."""
    folder = context.settings.web.viewer_folder
    if folder is None:
        raise HttpError(404, "no viewer is configured; set web.viewer_folder to OHIF's files")
    if path == "app-config.js":
        headers = _HEADERS | {"Cache-Control": "no-store"}
        return Response(_CONFIGURATION, media_type="text/javascript", headers=headers)
    files = _files_of(folder)
    name = path if path in files else "index.html"
    if name not in files or (name != path and Path(path).suffix in {".js", ".css", ".wasm", ".map", ".json"}):
        raise HttpError(404, "the viewer has no such file; check web.viewer_folder")
    file = files[name]
    kind = _TYPES.get(file.suffix) or mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    headers = _HEADERS | ({"Cache-Control": "no-store"} if name == "index.html" else {})
    if file.suffix in _MOVED and (content := _moved(file, file.stat().st_mtime_ns)) is not None:
        return Response(content, media_type=kind, headers=headers)
    return FileResponse(file, media_type=kind, headers=headers)


@lru_cache(maxsize=4)
def _files_of(folder: Path) -> dict[str, Path]:
    """Return all files of the viewer by their path below its folder; nothing else is ever served."""
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}


@lru_cache(maxsize=1024)
def _moved(file: Path, _modified_ns: int) -> bytes | None:
    """Return a file with the addresses that begin with ``/`` below ``/viewer/``; None where it has none."""
    root, content = ROOT.encode(), file.read_bytes()
    if file.suffix == ".html":
        moved = content.replace(b'window.PUBLIC_URL="/"', b'window.PUBLIC_URL="' + root + b'"')
        moved = _ROOTED.sub(rb'\1"' + root, moved)
    elif file.suffix == ".css":
        moved = _STYLE_ADDRESS.sub(rb"\1" + root, content)
    else:
        moved = _PUBLIC_PATH.sub(rb'\1"' + root + rb'"', content)
    return moved if moved != content else None
