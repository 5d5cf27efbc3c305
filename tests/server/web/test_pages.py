"""The pages: log-in, worklist, study and status; what they show is escaped, and forms alone change anything."""

import re
from collections.abc import Iterator
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from sqlalchemy import select
from tests.support.phantom import as_suspicious, hostile, predict_case, write_phantom
from tests.support.server import make_parts, write_objects
from tests.support.web import OPERATOR, READER, TOKENS, WebServer, answer, finish_study, running_web, store

from cspine.server.database.tables import AuditEntry, Delivery, Job, JobState, Review, Study


class _Markup(HTMLParser):
    """Collects what a page must not have: scripts and styles in its text, handlers, pictures, other sites."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.problems: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        if tag in {"style", "img", "svg", "b"} or (tag == "script" and not (values.get("src") or "").startswith("/")):
            self.problems.append(tag)
        for name, value in attributes:
            is_elsewhere = name in {"src", "href", "action"} and not re.match(r"[/#]|data:,$", value or "")
            if name.startswith("on") or name == "style" or is_elsewhere:
                self.problems.append(f"{tag} {name}={value}")


def problems_of(html: str) -> list[str]:
    return _Markup(html).problems


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WebServer]:
    with running_web(make_parts(tmp_path, web={"tokens": TOKENS})) as running:
        yield running
    running.parts.database.close()


def log_in(server: WebServer, token: str, **values: str) -> int:
    return server.post("/login", data={"token": token, **values}).status_code


def csrf_of(html: str) -> str:
    found = re.search(r'name="csrf" value="([0-9a-f]+)"', html)
    assert found is not None
    return found[1]


def receive(server: WebServer, folder: Path, **options: object) -> str:
    store(server, write_objects(folder, **options), token=OPERATOR)  # type: ignore[arg-type]
    with server.parts.database.reading() as session:
        return session.scalars(select(Study.key).order_by(Study.id.desc())).first() or ""


def test_pages_lead_to_the_log_in_and_back(server: WebServer) -> None:
    asked = server.get("/worklist?view=all", headers={"Accept": "text/html"})
    assert asked.status_code == 303
    assert asked.headers["Location"] == "/login?next=%2Fworklist%3Fview%3Dall"
    assert log_in(server, "wrong") == 401
    entered = server.post("/login", data={"token": READER, "next": "/worklist?view=all"})
    assert entered.headers["Location"] == "/worklist?view=all"
    cookie = entered.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    page = server.get("/worklist")
    assert page.status_code == 200
    assert "No study fits" in page.text
    assert server.post("/logout").status_code == 403
    left = server.post("/logout", data={"csrf": csrf_of(page.text)})
    assert left.headers["Location"] == "/login"
    assert server.get("/worklist").status_code == 401


@pytest.mark.parametrize("target", ["//attacker.example", "https://attacker.example", "/\\attacker.example"])
def test_the_log_in_leads_nowhere_else(server: WebServer, target: str) -> None:
    entered = server.post("/login", data={"token": READER, "next": target})
    assert entered.headers["Location"] == "/worklist"


def test_log_ins_of_other_sites_and_too_many_are_refused(server: WebServer) -> None:
    foreign = server.post("/login", data={"token": READER}, headers={"Sec-Fetch-Site": "cross-site"})
    assert foreign.status_code == 403
    statuses = [log_in(server, "wrong") for _ in range(12)]
    assert statuses[0] == 401
    assert statuses[-1] == 429


def test_a_session_ends_with_its_token(tmp_path: Path) -> None:
    parts = make_parts(tmp_path, web={"tokens": TOKENS})
    with running_web(parts) as server:
        assert log_in(server, READER) == 303
        cookies = server.session.cookies
    changed = [TOKENS[1], {**TOKENS[0], "sha256": "0" * 64}]
    with running_web(make_parts(tmp_path, web={"tokens": changed})) as server:
        assert server.get("/worklist", cookies=cookies).status_code == 401
    with running_web(parts) as server:  # the key outlives a restart
        assert server.get("/worklist", cookies=cookies).status_code == 200
    parts.database.close()


@pytest.mark.filterwarnings("ignore:The PN component length", "ignore:The value length", "ignore:Invalid value")
def test_headers_cannot_bring_markup_into_any_page(server: WebServer, tmp_path: Path) -> None:
    key = receive(server, tmp_path / "study", change=with_markup)
    number = answer(
        server.parts.database, key, state=JobState.FAILED, error="<script>alert(9)</script>", remedy="<b>none</b>"
    )
    log_in(server, OPERATOR)

    for path in ("/worklist?view=all", "/worklist/rows?view=all", f"/studies/{key}", "/status"):
        page = server.get(path)
        assert page.status_code == 200
        assert problems_of(page.text) == [], path
        assert "Research use only" in page.text or path.startswith("/worklist/rows")
    assert "&lt;script&gt;alert(1)" in server.get("/worklist?view=all").text
    searched = server.get('/worklist?q="><script>alert(1)</script>&view=<b>')
    assert problems_of(searched.text) == []
    assert server.get(f"/jobs/{number}/report").status_code == 404
    error = server.get("/studies/" + "0" * 32, headers={"Accept": "text/html"})
    assert error.status_code == 404
    assert "there is no such study" in error.text


def test_the_worklist_is_in_the_order_of_urgency(server: WebServer, tmp_path: Path) -> None:
    expected = ["suspicious", "stat by request", "no answer", "not predicted yet", "not suspicious"]
    keys = {}
    for number, reason in enumerate(reversed(expected)):

        def named(dataset: Dataset, reason: str = reason) -> None:
            dataset.PatientName = reason

        keys[reason] = receive(server, tmp_path / reason, n_objects=1, study=f"1.2.{number}", change=named)
    database = server.parts.database
    answer(database, keys["suspicious"], patient_probability=0.7, is_suspicious=True)
    answer(database, keys["not suspicious"], patient_probability=0.2)
    answer(database, keys["no answer"], state=JobState.NOT_ASSESSABLE)
    with database.session() as session:
        session.scalars(select(Study).where(Study.key == keys["stat by request"])).one().urgency = 2
    log_in(server, READER)

    def order(query: str = "") -> list[str]:
        return re.findall(r'<a href="/studies/[0-9a-f]{32}">([^<]+)</a>', server.get(f"/worklist{query}").text)

    assert order() == expected
    assert order("?view=suspicious") == ["suspicious"]
    assert order("?view=problems") == ["no answer"]
    assert order("?view=open") == ["stat by request", "not predicted yet"]
    assert order("?q=not") == ["not predicted yet", "not suspicious"]
    assert order("?q=%25") == []
    with database.session() as session:  # who waits for too long comes first
        study = session.scalars(select(Study).where(Study.key == keys["not suspicious"])).one()
        study.received_at -= timedelta(hours=2)
    assert order() == ["not suspicious", *expected[:-1]]


def test_the_rows_are_sent_again_only_where_they_changed(server: WebServer, tmp_path: Path) -> None:
    receive(server, tmp_path / "study")
    log_in(server, READER)

    first = server.get("/worklist/rows")
    again = server.get("/worklist/rows", headers={"If-None-Match": first.headers["ETag"]})

    assert first.status_code == 200
    assert again.status_code == 304


@pytest.mark.slow
def test_a_study_is_reviewed_on_its_page(server: WebServer, tmp_path: Path) -> None:
    slices = write_phantom(tmp_path / "study", of_ct)
    key = server.parts.receive(next(iter(sorted(slices.iterdir())))).key
    number = finish_study(server.parts, key, as_suspicious(predict_case(slices), {"C2"}))
    log_in(server, READER)
    page = server.get(f"/studies/{key}")
    report = server.get(f"/jobs/{number}/report")
    form = {"csrf": csrf_of(page.text), "verdict-C2": "accept", "comment-C2": "dens <II>", "comment-C3": "why?"}

    refused = server.post(f"/jobs/{number}/reviews", data=form | {"csrf": "0" * 64})
    stored = server.post(f"/jobs/{number}/reviews", data=form)
    again = server.post(f"/jobs/{number}/reviews", data=form)

    assert 'sandbox="allow-same-origin"' in page.text
    assert "sandbox allow-same-origin" in report.headers["Content-Security-Policy"]
    assert "script-src" not in report.headers["Content-Security-Policy"]
    assert refused.status_code == 403
    assert (stored.status_code, again.status_code) == (303, 303)
    with server.parts.database.reading() as session:
        reviews = session.execute(select(Review.level, Review.verdict, Review.comment, Review.user)).all()
        entries = set(session.execute(select(AuditEntry.actor, AuditEntry.action)).all())
    assert [tuple(review) for review in reviews] == [
        ("C2", "accept", "dens <II>", "ward"), ("C3", "unsure", "why?", "ward"),
    ]  # fmt: skip
    assert {("ward", "login"), ("ward", "study.view"), ("ward", "job.review")} <= {tuple(entry) for entry in entries}
    assert "dens &lt;II&gt;" in server.get(f"/studies/{key}").text
    assert server.get("/worklist").text.count("<tr") == 0  # read, and no longer in the list
    assert server.get("/worklist?view=reviewed").text.count("/studies/") == 1


def with_markup(dataset: Dataset) -> None:
    hostile(dataset)
    dataset.PatientName = "<script>alert(1)</script>^<img src=x onerror=alert(2)>"  # the former is too long for a PN


def of_ct(dataset: Dataset) -> None:
    dataset.SOPClassUID, dataset.PatientName = dataset.file_meta.MediaStorageSOPClassUID, "Phantom"


def test_operators_rerun_cancel_and_retry(server: WebServer, tmp_path: Path) -> None:
    key = receive(server, tmp_path / "study")
    number = answer(server.parts.database, key, state=JobState.FAILED, error="it crashed", remedy="report it")
    with server.parts.database.session() as session:
        job = session.get_one(Job, number)
        session.add(
            Delivery(
                job=job,
                destination="pacs",
                state="failed",
                attempts=9,
                not_before=job.created_at,
                created_at=job.created_at,
                error="refused",
            )
        )
    log_in(server, READER)
    form = {"csrf": csrf_of(server.get("/worklist").text)}
    assert server.post(f"/studies/{key}/rerun", data=form).status_code == 403
    assert server.get("/status").status_code == 403
    log_in(server, OPERATOR)
    status = server.get("/status").text
    form = {"csrf": csrf_of(status)}

    assert "it crashed" in status
    assert "report it" in status
    assert server.post("/deliveries/1/retry", data=form).status_code == 303
    assert server.post("/deliveries/1/retry", data=form).status_code == 409
    assert server.post(f"/studies/{key}/rerun", data=form).status_code == 303
    assert server.post(f"/studies/{key}/urgency", data=form | {"urgency": "stat"}).status_code == 303
    assert server.post(f"/jobs/{number + 1}/cancel", data=form).status_code == 303
    assert server.post(f"/jobs/{number + 1}/cancel", data=form).status_code == 409
    with server.parts.database.reading() as session:
        job = session.get_one(Job, number + 1)
        assert (job.state, job.priority, job.study.urgency) == (JobState.CANCELED, 2, 2)
        assert session.get_one(Delivery, 1).state == "waiting"


def test_the_configuration_and_the_api_are_described(server: WebServer) -> None:
    log_in(server, OPERATOR)

    assert "is of this version" in server.get("/status/check").text
    described = server.get("/api/docs").text
    assert "POST /api/uploads" in described
    assert "POST /dicom-web/studies" in described
    assert server.get("/api/openapi.json").json()["info"]["title"] == "cspine"
    for name in ("pages.css", "worklist.js", "study.js", "times.js", "refresh.js"):
        static = server.get(f"/static/{name}")
        assert static.status_code == 200
        assert "http:" not in static.text
    assert server.get("/static/..%2f__init__.py").status_code == 404
    assert server.get("/viewer/").status_code == 404
