"""Who may do what, and what every response says."""

from pathlib import Path

import pytest
from tests.support.server import make_parts, write_objects
from tests.support.web import OPERATOR, READER, TOKENS, running_web, store

from cspine.core.errors import InputError
from cspine.server.settings import WebSettings
from cspine.server.web.app import create_app
from cspine.server.web.service import make_server


def test_health_needs_no_token_and_everything_else_does(tmp_path: Path) -> None:
    with running_web(make_parts(tmp_path, web={"tokens": TOKENS})) as server:
        assert server.get("/health").json() == {"status": "ok"}
        assert server.get("/ready").json() == {"status": "ok", "problems": []}
        for path in ("/metrics", "/dicom-web/studies"):
            refused = server.get(path)
            assert refused.status_code == 401
            assert refused.headers["WWW-Authenticate"].startswith("Bearer")
            assert refused.json()["error"]["code"] == "not-authenticated"
            assert server.get(path, token="wrong").status_code == 401
            assert server.get(path, token=READER).status_code == 200
        assert store(server, write_objects(tmp_path / "study")).status_code == 401


def test_every_response_has_the_headers(tmp_path: Path) -> None:
    with running_web(make_parts(tmp_path, web={"tokens": TOKENS})) as server:
        for path in ("/health", "/nothing", "/metrics"):
            headers = server.get(path).headers
            assert "'unsafe-inline'" not in headers["Content-Security-Policy"]
            assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Referrer-Policy"] == "no-referrer"
            assert headers["Cache-Control"] == "no-store"
            assert "Server" not in headers


def test_without_tokens_loopback_alone_is_served(tmp_path: Path) -> None:
    with running_web(make_parts(tmp_path)) as server:
        assert server.get("/metrics").status_code == 200
        rebound = server.get("/metrics", headers={"Host": "attacker.example"})
        assert rebound.status_code == 403
        foreign = store(server, write_objects(tmp_path / "study"), headers={"Origin": "https://attacker.example"})
        assert foreign.status_code == 403
        assert store(server, write_objects(tmp_path / "again")).status_code == 200


@pytest.mark.parametrize(
    "host", ["[::1", "[1]", "[::::]", "[1.2.3.4]", "local\x99]host", "a b", "somebody@localhost", "localhost:1e5"]
)
def test_a_host_that_is_no_host_name_is_a_mistake_of_the_sender(tmp_path: Path, host: str) -> None:
    with running_web(make_parts(tmp_path)) as server:
        for path in ("/health", "/dicom-web/studies"):
            assert server.get(path, headers={"Host": host.encode("latin-1")}).status_code == 400
        for name in ("localhost:8104", "[::1]:8104"):
            assert server.get("/dicom-web/studies", headers={"Host": name}).status_code == 200


def test_an_origin_that_is_no_address_is_another_site(tmp_path: Path) -> None:
    with running_web(make_parts(tmp_path)) as server:
        assert store(server, write_objects(tmp_path / "study"), headers={"Origin": "https://[::1"}).status_code == 403


def test_a_proxy_names_the_user_from_its_address_alone(tmp_path: Path) -> None:
    web = {"proxy_user_header": "X-Forwarded-User", "proxy_roles_header": "X-Roles", "tokens": TOKENS}
    user = {"X-Forwarded-User": "dr.a", "X-Roles": "reader"}
    with running_web(make_parts(tmp_path / "a", web=web)) as server:
        assert server.get("/metrics", headers=user).status_code == 200
        assert server.get("/metrics", headers=user | {"X-Roles": "cook"}).status_code == 403
        assert server.get("/metrics").status_code == 401
    elsewhere = web | {"proxy_addresses": ["192.0.2.1"]}
    with running_web(make_parts(tmp_path / "b", web=elsewhere)) as server:
        assert server.get("/metrics", headers=user).status_code == 401


def test_requests_above_the_rate_are_refused(tmp_path: Path) -> None:
    with running_web(make_parts(tmp_path, web={"requests_per_minute": 10})) as server:
        frames = [server.get(f"/dicom-web/studies/1.2/series/1/instances/{n}/frames/1").status_code for n in range(40)]
        answers = [server.get("/health") for _ in range(14)]

    assert set(frames) == {404}  # a viewer's requests count as a twentieth
    assert [each.status_code for each in answers[:8]] == [200] * 8
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["Retry-After"]) >= 1


@pytest.mark.parametrize("is_chunked", [False, True])
def test_large_bodies_are_refused(tmp_path: Path, *, is_chunked: bool) -> None:
    body = b"x" * 3_000_000
    with running_web(make_parts(tmp_path, web={"max_upload_gb": 0.002})) as server:
        data = (body[start : start + 100_000] for start in range(0, len(body), 100_000)) if is_chunked else body
        refused = server.post("/api/uploads", data=data, headers={"Content-Type": "application/zip"})

        assert refused.status_code == 413
        assert refused.json()["error"]["code"] == "too-large"
        assert server.parts.spool.incoming_files() == []


def test_metrics_tell_routes_without_identifiers(tmp_path: Path) -> None:
    with running_web(make_parts(tmp_path, web={"tokens": TOKENS})) as server:
        server.get("/dicom-web/studies/1.2.3.4/metadata", token=OPERATOR)
        text = server.get("/metrics", token=OPERATOR).text

    assert 'route="/dicom-web/studies/{study}/metadata",status="404"' in text
    assert "1.2.3.4" not in text
    assert "cspine_spool_free_bytes" in text


def test_a_certificate_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "none.pem").write_text("no certificate")
    parts = make_parts(tmp_path)
    web = WebSettings(certificate=tmp_path / "none.pem", key=tmp_path / "none.pem", host="0.0.0.0", tokens=TOKENS)

    with pytest.raises(InputError, match="certificate or key cannot be used"):
        make_server(web, create_app(parts.settings, parts.database, parts.spool))
    parts.database.close()
