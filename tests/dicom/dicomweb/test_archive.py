"""Studies of a DICOMweb archive: what is requested and fetched, and what is believed of its answers."""

import gzip
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from tests.support.dicom import STUDY_UID, make_hu, write_enhanced, write_series
from tests.support.dicomweb_archive import Answer, Archive, running_archive

from cspine.core.errors import DicomError, InputError, SourceError
from cspine.core.storage import dicomweb
from cspine.core.storage.dicomweb import TOKEN_VARIABLE, DicomwebStore, single_part
from cspine.core.storage.locations import as_path, recorded_name
from cspine.core.storage.store import forget_stores
from cspine.dicom.discovery import discover
from cspine.dicom.loading import load_volume, open_series
from cspine.dicom.study_collection import open_collection

HU = make_hu((24, 24, 28))
BONE, SOFT, REPORT = (f"{STUDY_UID}.{number}" for number in (1, 2, 3))


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    """An archive with a study of a CT series, a thicker one, and a report."""
    monkeypatch.setattr(dicomweb, "_PAUSES_S", (0.0, 0.0))
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    forget_stores()
    with running_archive() as made:
        made.store(write_series(tmp_path / "bone", HU, series=BONE), Modality="CT", PatientID="secret-name")
        thick = write_series(tmp_path / "soft", HU[::2], spacing=(6.0, 2.0, 2.0), series=SOFT)
        made.store(thick, Modality="CT", PatientID="secret-name")
        made.store(write_series(tmp_path / "report", HU[:1], series=REPORT), Modality="SR")
        yield made
    forget_stores()


@pytest.fixture
def url(archive: Archive) -> str:
    return f"{archive.url}/studies/{STUDY_UID}"


def test_only_ct_is_described_and_only_the_selected_series_is_fetched(
    archive: Archive, url: str, tmp_path: Path
) -> None:
    plan = open_series(url)
    n_fetched = len(archive.paths("/instances/"))
    volume, local = plan.load(), load_volume(tmp_path / "bone")

    assert n_fetched == 0
    assert plan.series.series_instance_uid == BONE
    assert [reason.series.series_instance_uid for reason in plan.selection.rejected] == [SOFT]
    np.testing.assert_array_equal(volume.array, local.array)
    np.testing.assert_array_equal(volume.affine, local.affine)
    assert {path.split("/")[5] for path in archive.paths("/instances/")} == {BONE}
    assert not archive.paths(f"{REPORT}/metadata")


def test_a_thinned_volume_fetches_only_its_slices(archive: Archive, url: str) -> None:
    discovered = discover(url).studies[0].series
    bone = next(series for series in discovered if series.series_instance_uid == BONE)
    archive.requests.clear()

    load_volume(bone, slices=(0, 10))

    assert len(set(archive.paths("/instances/"))) < 20


def test_a_series_may_be_named_and_a_search_finds_studies(archive: Archive, url: str) -> None:
    assert [series.series_instance_uid for series in discover(f"{url}/series/{SOFT}").studies[0].series] == [SOFT]

    (found,) = open_collection(f"{archive.url}/studies?PatientID=secret-name").studies
    assert found.study_instance_uid == STUDY_UID
    assert found.fingerprint() == found.fingerprint()
    assert len(found.open().series) == 2
    with pytest.raises(SourceError, match="no study of the archive matches the search") as caught:
        open_collection(f"{archive.url}/studies?PatientID=secret-other")
    assert "secret" not in str(caught.value)


def test_a_search_is_paged(archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cspine.dicom.dicomweb.archive._PAGE", 2)
    for number in range(4):
        series = write_series(tmp_path / str(number), HU[:1], study=f"1.2.{number}", series=f"1.2.{number}.1")
        archive.store(series, Modality="CT", AccessionNumber="7")

    found = open_collection(f"{archive.url}/studies?AccessionNumber=7").studies

    assert [source.study_instance_uid for source in found] == [f"1.2.{number}" for number in range(4)]


def test_an_archive_may_send_fewer_studies_at_a_time_and_too_many_are_refused(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        series = write_series(tmp_path / str(number), HU[:1], study=f"1.2.{number}", series=f"1.2.{number}.1")
        archive.store(series, Modality="CT", AccessionNumber="7")
    archive.page_limit = 2

    found = open_collection(f"{archive.url}/studies?AccessionNumber=7").studies

    assert len(found) == 4
    monkeypatch.setattr("cspine.dicom.dicomweb.archive._MAX_STUDIES", 2)
    with pytest.raises(SourceError, match="more than 2 studies match"):
        open_collection(f"{archive.url}/studies?AccessionNumber=7")


def test_pixels_of_another_rescaling_than_described_are_refused(archive: Archive, url: str) -> None:
    for dataset in archive.datasets.values():
        dataset.RescaleIntercept = float(dataset.get("RescaleIntercept", 0)) + 60

    with pytest.raises(DicomError, match="not those of the archive's metadata"):
        load_volume(f"{url}/series/{BONE}")


def test_a_study_has_another_fingerprint_once_it_has_another_image(archive: Archive, url: str) -> None:
    for dataset in archive.datasets.values():
        dataset.NumberOfSeriesRelatedInstances = 24
    source = open_collection(url).studies[0]
    first, again = source.fingerprint(), source.fingerprint()
    for dataset in archive.datasets.values():
        dataset.NumberOfSeriesRelatedInstances = 25

    assert first == again != source.fingerprint()


def test_records_of_a_job_hold_no_search_key() -> None:
    name = recorded_name(as_path("dicomweb+https://host/dicom-web/studies?PatientID=secret-name"))

    assert "secret" not in name
    assert name.startswith("dicomweb+https://host/dicom-web/studies?sha256:")


def test_a_multi_frame_file_is_read_as_on_the_disk(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "enhanced").mkdir()
    path = write_enhanced(tmp_path / "enhanced" / "1.dcm", HU)
    dataset = pydicom.dcmread(path)
    archive.datasets, archive.files = {dataset.SOPInstanceUID: dataset}, {dataset.SOPInstanceUID: path.read_bytes()}

    volume, local = load_volume(f"{archive.url}/studies/{STUDY_UID}"), load_volume(path)

    np.testing.assert_array_equal(volume.array, local.array)
    assert len(set(archive.paths("/instances/"))) == 1


@pytest.mark.parametrize(
    ("end", "sentence"),
    [
        ("", "names no study"),
        ("/studies", "names no study"),
        ("/studies/../x", "has . or .."),
        ("/studies/abc", "is no UID"),
        ("/studies/1.2/series", "is no study of an archive"),
        ("/studies/1.2/other/1.3", "is no study of an archive"),
        ("/studies?limit=1", "a key that is no attribute"),
        ("/studies?Patient ID=1", "a key that is no attribute"),
        ("/studies?Modality=CT&Modality=MR", "has a key twice"),
    ],
)
def test_urls_that_are_no_study_are_refused(archive: Archive, end: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        open_collection(f"{archive.url}{end}")

    assert not archive.requests


# --- answers that are not what was asked for -------------------------------------------------------------------------


def html(path: str, answer: Answer) -> Answer:  # noqa: ARG001
    return Answer(kind="text/html", body=b"<html>secret</html>")


def html_instance(path: str, answer: Answer) -> Answer:
    return html(path, answer) if "/instances/" in path else answer


def other_study(path: str, answer: Answer) -> Answer:
    if path.endswith("metadata"):
        answer.body = answer.body.replace(STUDY_UID.encode() + b'"', b'1.2.3.4"')
    return answer


def another_image(path: str, answer: Answer) -> Answer:
    if "/instances/" in path:
        answer.body = answer.body.replace(b"-1000", b"-0024").replace(BONE.encode(), SOFT.encode())
    return answer


def invalid_metadata(path: str, answer: Answer) -> Answer:
    if path.endswith("metadata"):
        found = json.loads(answer.body)
        found[0]["00280010"] = {"vr": "US", "Value": ["secret"]}
        answer.body = json.dumps(found).encode()
    return answer


def endless(path: str, answer: Answer) -> Answer:  # noqa: ARG001
    return Answer(pieces=itertools.repeat(b"[" * 2**16))


def endless_instance(path: str, answer: Answer) -> Answer:
    answer.pieces = itertools.repeat(b"x" * 2**16) if "/instances/" in path else None
    return answer


def too_short(path: str, answer: Answer) -> Answer:  # noqa: ARG001
    return Answer(body=b"[]", headers={"Content-Length": "1000", "Connection": "close"})


def cut_off(path: str, answer: Answer) -> Answer:
    if "/instances/" in path:
        answer.body = answer.body[:-40]
    return answer


def two_files(path: str, answer: Answer) -> Answer:
    if "/instances/" in path:
        answer.body = answer.body[:-2] + b"\r\n\r\nx\r\n--b--"
    return answer


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        (html, SourceError, "answers text/html that is no DICOM JSON; check the URL"),
        (html_instance, SourceError, "answers text/html instead of DICOM; check the URL"),
        (other_study, SourceError, "describes an image of another study or series"),
        (another_image, DicomError, "sent another image than its metadata describe"),
        (invalid_metadata, DicomError, "the archive's metadata are not valid"),
        (endless, SourceError, "sends more than 1 MiB"),
        (endless_instance, SourceError, "sends more than 1 MiB"),
        (too_short, SourceError, "does not answer .*, 3 attempts"),
        (cut_off, SourceError, "its answer is cut off"),
        (two_files, SourceError, "answers several files"),
    ],
)
def test_wrong_answers_are_one_sentence_without_what_they_hold(
    archive: Archive,
    url: str,
    change: object,
    error: type[Exception],
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dicomweb, "_MAX_JSON_BYTES", 2**20)
    monkeypatch.setattr(dicomweb, "MAX_INSTANCE_BYTES", 2**20)
    archive.change = change  # type: ignore[assignment]

    with pytest.raises(error, match=sentence) as caught:
        load_volume(f"{url}/series/{BONE}")

    assert "secret" not in str(caught.value)


def test_an_instance_is_no_longer_than_its_metadata_describe(
    archive: Archive, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dicomweb, "_MARGIN_BYTES", 2**20)
    archive.change = endless_instance

    with pytest.raises(SourceError, match=r"sends more than 1 MiB, .* its metadata describe"):
        load_volume(f"{url}/series/{BONE}")


def test_an_answer_that_trickles_ends(archive: Archive, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicomweb, "_MAX_TIME_S", 0.0)

    with pytest.raises(SourceError, match="is too slow"):
        discover(url)

    assert len(archive.requests) == 1


def test_an_answer_of_known_length_that_trickles_ends(
    archive: Archive, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dicomweb, "_MAX_TIME_S", 0.1)
    is_over = threading.Event()

    def trickle(path: str, answer: Answer) -> Answer:  # noqa: ARG001
        pieces = (b" " for _ in range(200) if not is_over.wait(0.02))
        return Answer(headers={"Content-Length": "200"}, pieces=pieces)

    archive.change = trickle
    begin = time.monotonic()

    with pytest.raises(SourceError, match="is too slow"):
        discover(url)

    is_over.set()
    assert time.monotonic() - begin < 2.0  # all of it takes 4 s


def compressed(path: str, answer: Answer) -> Answer:  # noqa: ARG001
    answer.body, answer.headers = gzip.compress(answer.body), {"Content-Encoding": "gzip"}
    return answer


def chunked(path: str, answer: Answer) -> Answer:  # noqa: ARG001
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(answer.body), answer.body)
    answer.pieces, answer.headers = iter([body]), {"Transfer-Encoding": "chunked"}
    return answer


@pytest.mark.parametrize("change", [compressed, chunked])
def test_answers_may_be_compressed_or_chunked(
    archive: Archive, url: str, change: Callable[[str, Answer], Answer]
) -> None:
    n_series = len(discover(url).studies[0].series)
    archive.change = change

    assert len(discover(url).studies[0].series) == n_series == 2


def test_an_answer_that_is_not_compressed_as_it_says_is_refused(archive: Archive, url: str) -> None:
    archive.change = lambda path, answer: Answer(body=b"[]", headers={"Content-Encoding": "gzip"})  # noqa: ARG005

    with pytest.raises(SourceError, match="cannot be decompressed"):
        discover(url)


def test_a_part_needs_no_length_and_a_file_no_envelope() -> None:
    body = b"preamble\r\n--x y\r\n\r\ncontent\r\n--x y--\r\n"

    assert single_part('multipart/related; boundary="x y"', body, "") == b"content"
    assert single_part("application/dicom", b"content", "") == b"content"
    with pytest.raises(SourceError, match="without a part"):
        single_part("multipart/related; boundary=z", body, "")


# --- credentials, redirects, retries ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (401, f"refuses access .status 401.; check {TOKEN_VARIABLE} or the netrc file"),
        (403, "refuses access"),
        (404, "does not hold it .status 404.; check the URL and the UID"),
        (406, "does not send DICOM files as they are"),
        (400, "refuses the request"),
        (500, "does not answer .status 500, 3 attempts."),
    ],
)
def test_refusals_are_one_sentence(
    archive: Archive, url: str, status: int, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, "secret-token")
    archive.change = lambda path, answer: Answer(status)  # noqa: ARG005

    with pytest.raises(SourceError, match=sentence) as caught:
        discover(url)

    assert "secret-token" not in str(caught.value)
    assert archive.requests[0][1]["Authorization"] == "Bearer secret-token"


def test_a_failure_that_passes_is_repeated(archive: Archive, url: str) -> None:
    failures = iter([Answer(503), Answer(429)])
    archive.change = lambda path, answer: next(failures, answer)  # noqa: ARG005

    assert len(discover(url).studies[0].series) == 2


def test_a_password_comes_from_the_netrc_file(
    archive: Archive, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login reader password word\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))

    discover(url)

    assert {headers["Authorization"] for _, headers in archive.requests} == {"Basic cmVhZGVyOndvcmQ="}


def test_a_token_leaves_the_machine_only_encrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, "secret-token")

    with pytest.raises(InputError, match=r"is not encrypted, .* use dicomweb\+https"):
        DicomwebStore("dicomweb+http", "pacs.example").get_json("dicom-web/studies")


def test_a_redirect_stays_on_the_host(archive: Archive, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, "secret-token")
    with running_archive() as other:
        elsewhere = f"{other.url.removeprefix('dicomweb+')}/studies"
        archive.change = lambda path, answer: Answer(307, headers={"Location": elsewhere})  # noqa: ARG005
        with pytest.raises(SourceError, match="redirects to another host, which is not followed"):
            discover(url)
        assert not other.requests

    archive.change = lambda path, answer: Answer(307, headers={"Location": path})  # noqa: ARG005
    with pytest.raises(SourceError, match="redirects again and again"):
        discover(url)
