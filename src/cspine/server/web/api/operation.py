"""Whether the server lives and is ready, for load balancers and orchestrators; metrics for Prometheus."""

from typing import Any

from fastapi import APIRouter
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import JSONResponse, Response

from cspine.server.web.api.metrics import CONTENT_TYPE
from cspine.server.web.security.access import Context, Reader

router = APIRouter(tags=["operation"])


@router.get("/health")
def health() -> dict[str, str]:
    """Return that the process answers; needs no token."""
    return {"status": "ok"}


@router.get("/ready", responses={503: {"description": "The database or the spool cannot be used."}})
def ready(context: Context) -> JSONResponse:
    """Return whether the database answers and the spool has space; needs no token."""
    problems = []
    try:
        with context.database.reading() as session:
            session.execute(text("SELECT 1"))
    except SQLAlchemyError:
        problems.append("database")
    try:
        if context.spool.free_bytes < context.settings.storage.min_free_gb * 1e9:
            problems.append("space")
    except OSError:
        problems.append("spool")
    body: dict[str, Any] = {"status": "unavailable" if problems else "ok", "problems": problems}
    return JSONResponse(body, status_code=503 if problems else 200)


@router.get("/metrics", response_class=Response)
def metrics(context: Context, _: Reader) -> Response:
    """Return the metrics in the text format of Prometheus."""
    return Response(context.metrics.text(), media_type=CONTENT_TYPE)
