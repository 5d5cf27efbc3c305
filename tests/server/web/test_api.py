"""The API for programs."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.server import make_parts, write_objects
from tests.support.web import OPERATOR, READER, TOKENS, WebServer, answer, running_web, store

from cspine.server.database.tables import JobState


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WebServer]:
    with running_web(make_parts(tmp_path / "server", web={"tokens": TOKENS})) as running:
        assert store(running, write_objects(tmp_path / "study"), token=READER).status_code == 200
        yield running
    running.parts.database.close()


def test_studies_jobs_and_findings(server: WebServer) -> None:
    (study,) = server.get("/api/studies", token=READER).json()
    key = study["key"]
    assert study["is_open"]
    assert study["jobs"] == []
    folder = server.parts.spool.result_folder(key, 1, "ab")
    folder.mkdir(parents=True)
    (folder / "findings.json").write_text('{"schema_version": "3.0"}')
    number = answer(server.parts.database, key, result_folder=server.parts.spool.relative(folder))

    assert server.get(f"/api/studies/{key}", token=READER).json()["jobs"][0]["state"] == "done"
    assert server.get(f"/api/jobs/{number}", token=READER).json()["study"] == key
    assert server.get("/api/jobs?state=done", token=READER).json()[0]["id"] == number
    assert server.get("/api/jobs?state=failed", token=READER).json() == []
    findings = server.get(f"/api/jobs/{number}/findings", token=READER)
    assert findings.json() == {"schema_version": "3.0"}
    assert server.get(f"/api/jobs/{number}/fhir", token=READER).status_code == 404
    assert server.get("/api/jobs/999/findings", token=READER).status_code == 404


def test_operators_alone_rerun_and_cancel(server: WebServer) -> None:
    key = server.get("/api/studies", token=READER).json()[0]["key"]

    assert server.post(f"/api/studies/{key}/rerun", token=READER).status_code == 403
    assert server.get("/api/check", token=READER).status_code == 403
    made = server.post(f"/api/studies/{key}/rerun", token=OPERATOR)
    assert made.status_code == 201
    urgent = server.call("PUT", f"/api/studies/{key}/urgency", token=OPERATOR, json={"urgency": "stat"})
    assert urgent.status_code == 204
    assert server.get(f"/api/studies/{key}", token=READER).json()["urgency"] == "stat"
    number = made.json()["id"]
    assert server.post(f"/api/jobs/{number}/cancel", token=OPERATOR).json()["state"] == "canceled"
    assert server.post(f"/api/jobs/{number}/cancel", token=OPERATOR).status_code == 409
    wrong = server.call("PUT", f"/api/studies/{key}/urgency", token=OPERATOR, json={"urgency": "now"})
    assert wrong.status_code == 422
    assert "now" not in wrong.json()["error"]["message"]


def test_reviews_are_stored_and_read(server: WebServer) -> None:
    key = server.get("/api/studies", token=READER).json()[0]["key"]
    number = answer(server.parts.database, key, state=JobState.DONE)
    review = {"level": "C2", "verdict": "reject", "comment": "an old one"}

    stored = server.post(f"/api/jobs/{number}/reviews", token=READER, json=review)
    wrong = server.post(f"/api/jobs/{number}/reviews", token=READER, json=review | {"level": "L1"})

    assert stored.status_code == 201
    assert stored.json()["user"] == "ward"
    assert wrong.status_code == 422
    assert [each["level"] for each in server.get("/api/reviews", token=READER).json()] == ["C2"]
    assert (
        server.get(f"/api/jobs/{number}/reviews", token=READER).json()
        == server.get("/api/reviews", token=READER).json()
    )
    assert server.get(f"/api/reviews?after={stored.json()['id']}", token=READER).json() == []


@pytest.mark.parametrize("path", ["/api/jobs/0", "/api/jobs/x", "/api/jobs/99999999999999999999", "/api/studies/..",
                                  "/api/studies/1.2.3", "/api/jobs/1/findings/..%2f..%2fcspine.sqlite"])  # fmt: skip
def test_ids_are_numbers_and_keys(server: WebServer, path: str) -> None:
    refused = server.get(path, token=OPERATOR)

    assert refused.status_code in {404, 422}
    assert set(refused.json()["error"]) == {"code", "message"}


def test_the_check_tells_every_part(server: WebServer) -> None:
    checks = server.get("/api/check", token=OPERATOR).json()

    assert {"spool", "database", "weights"} <= {each["name"] for each in checks}
    assert "web" not in {each["name"] for each in checks}  # its own port is taken by itself


def test_deliveries_that_were_not_given_up_cannot_be_retried(server: WebServer) -> None:
    assert server.get("/api/deliveries", token=READER).json() == []
    assert server.post("/api/deliveries/1/retry", token=OPERATOR).status_code == 409
