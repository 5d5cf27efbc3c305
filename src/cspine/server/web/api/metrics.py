"""Metrics for Prometheus: requests of this process, and the state that all processes share in the database."""

import time
from collections.abc import Iterator, Sequence
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cspine import __version__
from cspine.server.database.engine import Database, utc_now
from cspine.server.database.tables import Delivery, Job, Process, Study
from cspine.server.spool.folders import Spool

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST

_BUCKETS: Final = (0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0)


class ServerState(Collector):
    """Gauges that are read from the database and the disk whenever Prometheus asks.

    Parameters
    ----------
    database : Database
        Records of the server.
    spool : Spool
        Whose free space is told.
    """

    def __init__(self, database: Database, spool: Spool) -> None:
        self._database, self._spool = database, spool

    def describe(self) -> Iterator[Metric]:
        """Return nothing, so that registration does not read the database."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges."""
        now = utc_now()
        with self._database.reading() as session:
            jobs = session.execute(
                select(Job.state, func.count()).where(Job.is_current.is_(True)).group_by(Job.state)
            ).all()
            deliveries = session.execute(
                select(Delivery.destination, Delivery.state, func.count()).group_by(
                    Delivery.destination, Delivery.state
                )
            ).all()
            n_studies, n_open = session.execute(
                select(func.count(), func.count().filter(Study.is_open.is_(True))).select_from(Study)
            ).one()
            oldest = session.scalar(select(func.min(Job.created_at)).where(Job.state == "complete"))
            processes = session.execute(select(Process.name, Process.role, Process.beat_at)).all()
        yield _gauge("cspine_build_info", "Version of the software.", ["version"], [((__version__,), 1.0)])
        yield _gauge("cspine_studies", "Studies in the database.", [], [((), float(n_studies))])
        yield _gauge("cspine_studies_open", "Studies that are being received.", [], [((), float(n_open))])
        by_state = [((str(state),), float(count)) for state, count in jobs]
        yield _gauge("cspine_jobs", "Last jobs of studies, by state.", ["state"], by_state)
        by_destination = [((name, str(state)), float(count)) for name, state, count in deliveries]
        yield _gauge("cspine_deliveries", "Deliveries of results.", ["destination", "state"], by_destination)
        waiting_s = max((now - oldest).total_seconds(), 0.0) if oldest else 0.0
        yield _gauge("cspine_oldest_waiting_seconds", "Age of the oldest job that waits.", [], [((), waiting_s)])
        beats = [((name, role), max((now - beat).total_seconds(), 0.0)) for name, role, beat in processes]
        yield _gauge("cspine_process_beat_age_seconds", "Age of a process's sign of life.", ["name", "role"], beats)
        yield _gauge("cspine_spool_free_bytes", "Free space of the spool.", [], [((), float(self._spool.free_bytes))])


def _gauge(
    name: str, description: str, labels: list[str], values: Sequence[tuple[tuple[str, ...], float]]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, description, labels=labels)
    for label_values, value in values:
        family.add_metric(label_values, value)
    return family


class WebMetrics:
    """The metrics of one application.

    Parameters
    ----------
    database, spool : Database, Spool
        As of `ServerState`.
    """

    def __init__(self, database: Database, spool: Spool) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(ServerState(database, spool))
        self._requests = Counter(
            "cspine_http_requests", "Requests by route and status.", ["method", "route", "status"],
            registry=self._registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "cspine_http_request_seconds", "Time until a response is complete.", ["method", "route"],
            buckets=_BUCKETS, registry=self._registry,
        )  # fmt: skip

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def text(self) -> bytes:
        """Return all metrics in the text format."""
        return generate_latest(self._registry)


_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class RequestMetrics:
    """ASGI middleware that counts requests by route, which holds no identifiers.

    Parameters
    ----------
    app : ASGI application
        What answers.
    metrics : WebMetrics
        What counts.
    """

    def __init__(self, app: ASGIApp, *, metrics: WebMetrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request and count it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.observe(method, route, status, time.perf_counter() - start)
