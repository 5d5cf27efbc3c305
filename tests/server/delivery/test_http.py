"""STOW-RS, FHIR, webhook and mail to servers on loopback: what is sent, repeated, refused and kept back."""

import json
import shutil
import smtplib
from pathlib import Path
from typing import Any

import pydicom
import pytest
from tests.support.delivery import add_job, deliveries, mail_sink, recording_server, write_result
from tests.support.server import ServerParts

from cspine.core.anatomy import RESEARCH_USE_ONLY
from cspine.core.files import read_json
from cspine.server.database.tables import DeliveryState
from cspine.server.delivery.fhir import as_transaction
from cspine.server.delivery.http import is_refused_address
from cspine.server.delivery.mail import compose
from cspine.server.delivery.outgoing import OutgoingResult
from cspine.server.delivery.sender import Queue
from cspine.server.delivery.webhook import IDEMPOTENCY, SIGNATURE, TIMESTAMP, sign
from cspine.server.settings import DestinationSettings


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_result(tmp_path_factory.mktemp("result"))


def destination(kind: str, url: str = "", **options: Any) -> DestinationSettings:
    values = {"name": "there", "kind": kind, "timeout_s": 5.0, "backoff_s": 0.0, "url": url or None, **options}
    return DestinationSettings.model_validate(values)


def send_all(parts: ServerParts, there: DestinationSettings) -> None:
    queue = Queue(there, parts.database, parts.spool)
    for _ in range(10):
        if not queue.send_next():
            return


def test_webhook_tells_no_names_and_is_signed(parts: ServerParts, result: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a key\n")
    with recording_server() as server:
        there = destination("webhook", f"{server.url}/hook", secret=str(tmp_path / "secret"))
        job = add_job(parts, [there], result)
        send_all(parts, there)

    (request,) = server.requests
    assert json.loads(request.body)["job"] == job
    assert json.loads(request.body)["levels"][0]["probability"] == 0.91
    assert json.loads(request.body)["notice"] == RESEARCH_USE_ONLY
    assert b"ecret" not in request.body
    assert request.headers[SIGNATURE] == sign("a key", request.headers[TIMESTAMP], request.body)
    assert [each.state for each in deliveries(parts)] == [DeliveryState.SENT]


def test_a_repeat_has_the_same_idempotency_key(parts: ServerParts, result: Path) -> None:
    with recording_server() as server:
        server.answer = lambda _: (500 if len(server.requests) == 1 else 204, {}, b"")
        there = destination("webhook", server.url)
        add_job(parts, [there], result)
        send_all(parts, there)

    assert len(server.requests) == 2
    assert len({each.headers[IDEMPOTENCY] for each in server.requests}) == 1
    assert len({each.body for each in server.requests}) == 1
    assert [each.attempts for each in deliveries(parts)] == [2]


def test_redirects_are_not_followed(parts: ServerParts, result: Path) -> None:
    with recording_server() as server, recording_server() as other:
        server.answer = lambda _: (307, {"Location": f"{other.url}/elsewhere"}, b"")
        there = destination("webhook", server.url, max_attempts=1)
        add_job(parts, [there], result)
        send_all(parts, there)

        assert other.requests == []
    (delivery,) = deliveries(parts)
    assert delivery.state == DeliveryState.FAILED
    assert "redirects" in delivery.error


@pytest.mark.parametrize(
    ("address", "host", "is_refused"),
    [
        ("169.254.169.254", "metadata.example", True),
        ("::ffff:169.254.169.254", "metadata.example", True),
        ("fe80::1%eth0", "printer.local", True),
        ("0.0.0.0", "zero.example", True),
        ("fd00:ec2::254", "metadata.example", True),
        ("169.254.3.4", "169.254.3.4", False),
        ("fe80::1", "[fe80::1]", False),
        ("10.1.2.3", "pacs.example", False),
        ("127.0.0.1", "localhost", False),
    ],
)
def test_addresses(address: str, host: str, is_refused: bool) -> None:
    assert is_refused_address(address, host) == is_refused


def test_a_name_that_leads_to_a_metadata_address_gets_no_request(
    parts: ServerParts, result: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cspine.server.delivery.http._METADATA", frozenset({"127.0.0.1"}))
    with recording_server() as server:
        there = destination("webhook", f"http://localhost:{server.port}/", max_attempts=1)
        add_job(parts, [there], result)
        send_all(parts, there)

    assert server.requests == []
    assert "metadata" in deliveries(parts)[0].error


def confirmation(result: Path) -> bytes:
    """Return the answer of a STOW-RS service that has stored a result."""
    uids = [str(pydicom.dcmread(path).SOPInstanceUID) for path in (result / "dicom").glob("*.dcm")]
    return json.dumps({"00081199": {"Value": [{"00081155": {"Value": [uid]}} for uid in uids]}}).encode()


def test_stow_sends_every_object_as_it_is(parts: ServerParts, result: Path) -> None:
    with recording_server() as server:
        server.answer = lambda _: (200, {}, confirmation(result))
        there = destination("stow", f"{server.url}/dicom-web/", username="us", password="env:STOW_PASSWORD")
        add_job(parts, [there], result)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("STOW_PASSWORD", "pass")
            send_all(parts, there)

    (request,) = server.requests
    files = list((result / "dicom").glob("*.dcm"))
    assert request.path == "/dicom-web/studies"
    assert "Transfer-Encoding" not in request.headers
    assert request.body.endswith(b"--\r\n")
    assert request.headers["Authorization"] == "Basic dXM6cGFzcw=="
    assert all(path.read_bytes() in request.body for path in files)
    assert request.body.count(b"Content-Type: application/dicom\r\n\r\n") == len(files) > 1
    assert deliveries(parts)[0].state == DeliveryState.SENT


@pytest.mark.parametrize(
    ("status", "n_stored", "reasons", "state"),
    [
        (200, 2, [], DeliveryState.SENT),
        (202, 1, [0x0111], DeliveryState.SENT),
        (409, 0, [0x0111, 0x0111], DeliveryState.SENT),
        (202, 1, [0x0110], DeliveryState.FAILED),
        (200, 1, [], DeliveryState.FAILED),
        (200, None, [], DeliveryState.FAILED),
        (409, 0, [], DeliveryState.FAILED),
        (404, 2, [], DeliveryState.FAILED),
        (401, 2, [], DeliveryState.FAILED),
        (503, 2, [], DeliveryState.FAILED),
    ],
)
def test_what_stow_does_not_confirm_is_not_taken_for_sent(
    status: int, n_stored: int | None, reasons: list[int], state: DeliveryState, parts: ServerParts, result: Path
) -> None:
    files = [path for path in sorted((result / "dicom").glob("*.dcm")) if path.name in {"report.dcm", "saliency.dcm"}]
    uids = [str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in files]
    few = parts.spool.folder / "few"
    (few / "dicom").mkdir(parents=True)
    for path in files:
        shutil.copy(path, few / "dicom")
    stored = [{"00081155": {"Value": [uid]}} for uid in uids[: n_stored or 0]]
    failed = [
        {"00081155": {"Value": [uid]}, "00081197": {"Value": [reason]}}
        for uid, reason in zip(uids[n_stored or 0 :], reasons, strict=False)
    ]
    answer = json.dumps({"00081199": {"Value": stored}, "00081198": {"Value": failed}}).encode()
    with recording_server() as server:
        server.answer = lambda _: (status, {}, b"" if n_stored is None else answer)
        there = destination("stow", server.url, max_attempts=1)
        add_job(parts, [there], few)
        send_all(parts, there)

    assert deliveries(parts)[0].state == state


def test_a_fhir_repeat_replaces_itself(parts: ServerParts, result: Path) -> None:
    with recording_server() as server:
        there = destination("fhir", f"{server.url}/fhir", token="env:FHIR_TOKEN")
        add_job(parts, [there], result)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("FHIR_TOKEN", "opaque")
            send_all(parts, there)

    (request,) = server.requests
    bundle = json.loads(request.body)
    assert request.headers["Authorization"] == "Bearer opaque"
    assert bundle["type"] == "transaction"
    assert {each["request"]["method"] for each in bundle["entry"]} == {"PUT"}
    urls = [each["request"]["url"] for each in bundle["entry"]]
    assert len(set(urls)) == len(urls)
    assert all("?identifier=" in url and "%7C" in url for url in urls)
    assert as_transaction(read_json(result / "fhir.json")) == bundle


def test_a_transaction_is_a_valid_bundle(result: Path) -> None:
    from fhir.resources.R4B.bundle import Bundle

    Bundle.model_validate(as_transaction(read_json(result / "fhir.json")))


def test_mail_of_a_suspicious_study(parts: ServerParts, result: Path) -> None:
    with mail_sink() as (port, mails):
        there = destination(
            "mail", host="127.0.0.1", port=port, sender="cspine@hospital.example", recipients=["ward@hospital.example"],
            starttls=False,
        )  # fmt: skip
        add_job(parts, [there], result)
        add_job(parts, [there], result, study="1.2.4", is_suspicious=False)
        send_all(parts, there)

    (mail,) = mails
    assert b"C5: probability 91 %" in mail
    assert b"C6" not in mail
    assert RESEARCH_USE_ONLY.encode() in mail.replace(b"=\r\n", b"")
    assert b"ecret" not in mail


def test_a_mail_that_a_recipient_does_not_get_is_not_taken_for_sent(
    parts: ServerParts, result: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = {"off-call@hospital.example": (550, b"no such user")}
    monkeypatch.setattr(smtplib.SMTP, "send_message", lambda *_, **__: refused)
    with mail_sink() as (port, _):
        there = destination(
            "mail", host="127.0.0.1", port=port, sender="a@b.example",
            recipients=["c@d.example", "off-call@hospital.example"], starttls=False,
        )  # fmt: skip
        add_job(parts, [there], result)
        send_all(parts, there)

    assert deliveries(parts)[0].state == DeliveryState.FAILED
    assert "1 of 2 recipients" in deliveries(parts)[0].error


def test_a_mail_says_nothing_reassuring_of_a_study_that_cannot_be_assessed_any_more() -> None:
    there = destination("mail", host="h", port=25, sender="a@b.example", recipients=["c@d.example"])
    summary = {
        "study": "ab", "state": "not_assessable", "is_suspicious": False, "patient_probability": None, "levels": [],
    }  # fmt: skip

    text = compose(there, OutgoingResult(Path(), "ab-2", summary)).get_content()

    assert "not suspicious" not in text
    assert "cannot be assessed any more" in text


def test_mail_is_not_sent_in_the_clear_where_the_server_has_no_starttls(parts: ServerParts, result: Path) -> None:
    with mail_sink() as (port, mails):
        there = destination(
            "mail", host="127.0.0.1", port=port, sender="a@b.example", recipients=["c@d.example"], max_attempts=1
        )
        add_job(parts, [there], result)
        send_all(parts, there)

    assert mails == []
    assert smtplib.SMTPNotSupportedError.__name__ in deliveries(parts)[0].error


def test_secrets_are_in_no_record_and_no_log(
    parts: ServerParts, result: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "token").write_text("very-opaque")
    there = destination("fhir", "http://127.0.0.1:9/fhir?key=in-the-url", token=str(tmp_path / "token"), max_attempts=1)
    add_job(parts, [there], result)
    with caplog.at_level("DEBUG"):
        send_all(parts, there)

    text = caplog.text + deliveries(parts)[0].error
    assert "cannot be reached" in text
    for secret in ("very-opaque", "in-the-url", "secret-id", "Secret^Name"):
        assert secret not in text
