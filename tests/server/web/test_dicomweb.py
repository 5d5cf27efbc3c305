"""Objects in by STOW-RS and zip, and out by QIDO-RS and WADO-RS."""

import io
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
import requests
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import UID, ComprehensiveSRStorage, ExplicitVRLittleEndian, JPEGLSLossless
from tests.support.dicom import STUDY_UID
from tests.support.server import make_parts, write_objects
from tests.support.web import WebServer, answer, multipart, running_web, store

SERIES = f"/dicom-web/studies/{STUDY_UID}/series/{STUDY_UID}.1"
JSON = "application/dicom+json"
OBJECT = {"Accept": "application/dicom"}
OBJECTS = {"Accept": 'multipart/related; type="application/dicom"'}
FRAMES = {"Accept": "multipart/related; type=application/octet-stream"}
STORED_FRAMES = {"Accept": "multipart/related; type=application/octet-stream; transfer-syntax=*"}


def of_a_patient(dataset: Dataset) -> None:
    dataset.PatientName, dataset.PatientID, dataset.Modality = "Doe^Jane", "P-1", "CT"
    dataset.StudyDate, dataset.StudyDescription = "20260102", "CT neck 100% _x"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    folder = tmp_path_factory.mktemp("dicomweb")
    with running_web(make_parts(folder)) as running:
        stored = store(running, write_objects(folder / "study", 3, change=of_a_patient))
        assert stored.status_code == 200
        yield running
    running.parts.database.close()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[WebServer]:
    with running_web(make_parts(tmp_path)) as running:
        yield running
    running.parts.database.close()


def raw_parts(response: requests.Response) -> list[tuple[str, bytes]]:
    boundary = response.headers["Content-Type"].rpartition("boundary=")[2].encode()
    pieces = response.content.split(b"--" + boundary)[1:-1]
    heads_and_bodies = [piece[2:-2].split(b"\r\n\r\n", 1) for piece in pieces]
    return [(head.decode().removeprefix("Content-Type: "), body) for head, body in heads_and_bodies]


def test_stored_objects_are_answered_with_their_addresses(own_server: WebServer, tmp_path: Path) -> None:
    paths = write_objects(tmp_path / "study")

    answered = store(own_server, paths)

    assert answered.status_code == 200
    assert answered.headers["Content-Type"] == JSON
    items = answered.json()["00081199"]["Value"]
    assert [each["00081155"]["Value"][0] for each in items] == [pydicom.dcmread(path).SOPInstanceUID for path in paths]
    assert "00081198" not in answered.json()
    assert own_server.get(items[0]["00081190"]["Value"][0].removeprefix(own_server.url)).status_code == 200
    assert own_server.parts.spool.incoming_files() == []
    assert store(own_server, paths).status_code == 200  # the same again changes nothing
    (study,) = own_server.get("/dicom-web/studies").json()
    assert study["00201208"]["Value"] == [3]


def test_an_object_is_answered_by_the_uid_that_it_is_stored_under(own_server: WebServer, tmp_path: Path) -> None:
    path = write_objects(tmp_path / "study", 1)[0]
    dataset = pydicom.dcmread(path)
    uid = dataset.SOPInstanceUID
    del dataset.SOPInstanceUID  # research data keep it in the meta information alone
    dataset.file_meta.MediaStorageSOPInstanceUID = uid
    pydicom.dcmwrite(path, dataset)

    answered = store(own_server, [path])

    assert [each["00081155"]["Value"][0] for each in answered.json()["00081199"]["Value"]] == [uid]


def test_what_is_not_accepted_is_told_for_each_object(own_server: WebServer, tmp_path: Path) -> None:
    def as_report(dataset: Dataset) -> None:
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = ComprehensiveSRStorage

    good, report = write_objects(tmp_path / "a", 1), write_objects(tmp_path / "b", 1, change=as_report)
    message = multipart([good[0].read_bytes(), report[0].read_bytes(), b"no DICOM"])

    mixed = own_server.post("/dicom-web/studies", **message)
    only_bad = store(own_server, report)
    other_study = own_server.post("/dicom-web/studies/1.2.3", **multipart([good[0].read_bytes()]))
    other_type = own_server.post("/dicom-web/studies", **multipart([b"{}"], kind="application/dicom+json"))

    assert mixed.status_code == 202
    assert len(mixed.json()["00081199"]["Value"]) == 1
    assert mixed.json()["00081198"]["Value"][0]["00081197"]["Value"] == [0x0122]
    assert mixed.json()["0008119A"]["Value"][0]["00081197"]["Value"] == [0xC000]
    assert only_bad.status_code == 409
    assert other_study.status_code == 409
    assert other_study.json()["00081198"]["Value"][0]["00081197"]["Value"] == [0xA900]
    assert other_type.status_code == 415
    assert own_server.post("/dicom-web/studies", headers={"Accept": "application/dicom+xml"}).status_code == 406


@pytest.mark.parametrize("cut", [0.1, 0.6, 0.98])
def test_a_message_that_ends_early_leaves_nothing_half(own_server: WebServer, tmp_path: Path, cut: float) -> None:
    message = multipart([path.read_bytes() for path in write_objects(tmp_path / "study", 2)])
    message["data"] = message["data"][: int(len(message["data"]) * cut)]

    assert own_server.post("/dicom-web/studies", **message).status_code == 400
    assert own_server.parts.spool.incoming_files() == []


def test_limits_have_their_own_status(tmp_path: Path) -> None:
    with running_web(make_parts(tmp_path / "a", intake={"max_object_mb": 0.0005})) as server:
        assert store(server, write_objects(tmp_path / "study", 1)).status_code == 413
    with running_web(make_parts(tmp_path / "b", storage={"min_free_gb": 1e6})) as server:
        assert server.get("/ready").status_code == 503
        assert store(server, write_objects(tmp_path / "study", 1)).status_code == 507


def packed(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def upload(server: WebServer, data: bytes) -> requests.Response:
    return server.post("/api/uploads", data=data, headers={"Content-Type": "application/zip"})


def test_a_zip_is_received(own_server: WebServer, tmp_path: Path) -> None:
    files = {f"a/b/{path.name}": path.read_bytes() for path in write_objects(tmp_path / "study")}

    first = upload(own_server, packed(files | {"readme.txt": b"hello"}))
    again = upload(own_server, packed(files))

    assert first.status_code == 200
    assert first.json()["stored"] == 3
    assert first.json()["rejected"] == {"not-dicom": 1}
    assert again.json() == {"stored": 0, "repeated": 3, "rejected": {}, "studies": first.json()["studies"]}
    assert own_server.parts.spool.incoming_files() == []


def test_zips_that_are_unsafe_are_refused(own_server: WebServer) -> None:
    bomb = packed({"bomb.dcm": bytes(300_000_000)})
    assert len(bomb) < 1_000_000

    assert upload(own_server, bomb).json()["error"]["code"] == "archive-limit"
    assert upload(own_server, packed({"../../etc/passwd": b"x"})).json()["error"]["code"] == "archive"
    assert upload(own_server, packed({f"{n}.dcm": b"" for n in range(50_001)})).status_code == 413
    assert upload(own_server, b"no zip").status_code == 415
    assert upload(own_server, packed({"a.txt": b"x"})).status_code == 422
    assert upload(own_server, packed({"a.dcm": b"x" * 1000})[:-30]).status_code in {415, 422}
    assert own_server.parts.spool.incoming_files() == []


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("", 1),
        (f"StudyInstanceUID={STUDY_UID}", 1),
        (f"StudyInstanceUID=1.2,{STUDY_UID}", 1),
        ("0020000D=1.2", 0),
        ("PatientName=doe*", 1),
        ("PatientName=d?e^JANE", 1),
        ("PatientName=Doe", 0),
        ("PatientID=P-1", 1),
        ("PatientID=P_1", 0),
        ("PatientID=%25", 0),
        ("StudyDate=20260101-20260131", 1),
        ("StudyDate=-20260101", 0),
        ("StudyDate=20260102", 1),
        ("StudyDescription=*100%25 _*", 1),
        ("ModalitiesInStudy=CT", 1),
        ("ModalitiesInStudy=MR", 0),
        ("limit=0", 0),
        ("offset=1", 0),
        ("PatientName=&fuzzymatching=true", 1),
    ],
)
def test_studies_are_found(server: WebServer, query: str, count: int) -> None:
    answered = server.get(f"/dicom-web/studies?{query}")

    assert answered.status_code == 200
    assert len(answered.json()) == count
    assert ("fuzzymatching" in answered.headers.get("Warning", "")) == ("fuzzy" in query)
    for study in answered.json():
        assert study["00100010"]["Value"] == [{"Alphabetic": "Doe^Jane"}]


def test_series_and_objects_are_found(server: WebServer) -> None:
    study = f"/dicom-web/studies/{STUDY_UID}"

    (series,) = server.get(f"{study}/series").json()
    assert series["0020000E"]["Value"] == [f"{STUDY_UID}.1"]
    assert series["00201209"]["Value"] == [3]
    assert server.get(f"{study}/series?Modality=SR").json() == []
    objects = server.get(f"{study}/instances").json()
    assert len(objects) == len(server.get(f"{SERIES}/instances").json()) == 3
    assert "00100010" not in objects[0]
    (one,) = server.get(f"{SERIES}/instances?InstanceNumber=2&includefield=PatientName").json()
    assert one["00100010"]["Value"] == [{"Alphabetic": "Doe^Jane"}]
    assert len(server.get(f"{SERIES}/instances?limit=2&offset=2").json()) == 1
    assert server.get("/dicom-web/studies/1.2.3/series").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/dicom-web/studies/..%2F..%2Fetc/series", "/dicom-web/studies/1.2.a/metadata", f"{SERIES}/instances/..",
        f"{SERIES}/instances/1.2/frames/0", f"{SERIES}/instances/1.2/frames/1,x", "/dicom-web/studies?limit=-1",
        "/dicom-web/studies?Nothing=1", "/dicom-web/studies/" + "1" * 65 + "/series", "/dicom-web/../../etc/passwd",
    ],
)  # fmt: skip
def test_addresses_that_are_none_are_refused(server: WebServer, path: str) -> None:
    refused = server.get(path)

    assert refused.status_code in {400, 404}
    assert set(refused.json()["error"]) == {"code", "message"}


def test_objects_come_back_as_they_were_sent(server: WebServer) -> None:
    stored = sorted(path.read_bytes() for path in server.parts.spool.folder.glob("studies/*/*.dcm"))

    whole = server.get(
        f"/dicom-web/studies/{STUDY_UID}", headers={"Accept": 'multipart/related; type="application/dicom"'}
    )
    single = server.get(
        f"{SERIES}/instances/{server.get(f'{SERIES}/instances').json()[0]['00080018']['Value'][0]}",
        headers=OBJECT,
    )

    assert sorted(body for _, body in raw_parts(whole)) == stored
    assert single.content in stored
    refused = server.get(SERIES, headers={"Accept": "image/jpeg"})
    assert refused.status_code == 406


def test_metadata_is_dicom_json_without_pixels(server: WebServer) -> None:
    metadata = server.get(f"{SERIES}/metadata").json()

    assert [each["00200013"]["Value"] for each in metadata] == [[1], [2], [3]]
    for each in metadata:
        assert "7FE00010" not in each
        dataset = Dataset.from_json(each)
        assert dataset.PatientName == "Doe^Jane"
        assert (dataset.Rows, dataset.Columns) == (8, 8)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, JPEGLSLossless])
@pytest.mark.parametrize("is_signed", [False, True])
def test_frames_are_the_pixels(tmp_path: Path, syntax: str, *, is_signed: bool) -> None:
    values = np.random.default_rng(1).integers(-1000 if is_signed else 0, 2000, (16, 8)).astype("<i2")

    def with_pixels(dataset: Dataset) -> None:
        dataset.PixelData, dataset.Rows, dataset.Columns = values.tobytes(), 16, 8
        dataset.PixelRepresentation, dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = is_signed, 16, 16, 15
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, 0
        if syntax == JPEGLSLossless:
            import imagecodecs
            from pydicom.encaps import encapsulate

            dataset.PixelData = encapsulate([bytes(imagecodecs.jpegls_encode(values.view("<u2")))])
            dataset["PixelData"].is_undefined_length = True
            dataset.file_meta.TransferSyntaxUID = JPEGLSLossless

    with running_web(make_parts(tmp_path)) as server:
        assert store(server, write_objects(tmp_path / "study", 1, change=with_pixels)).status_code == 200
        (found,) = server.get(f"{SERIES}/instances").json()
        address = f"{SERIES}/instances/{found['00080018']['Value'][0]}"
        plain = server.get(
            f"{address}/frames/1", headers={"Accept": "multipart/related; type=application/octet-stream"}
        )
        stored = server.get(
            f"{address}/frames/1",
            headers=STORED_FRAMES,
        )
        picture = server.get(f"{address}/rendered?window=500,1000", headers={"Accept": "image/png"})
        missing = server.get(f"{address}/frames/2")
    server.parts.database.close()

    ((kind, body),) = raw_parts(plain)
    assert kind == "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"
    assert body == values.tobytes()
    ((kind, body),) = raw_parts(stored)
    assert kind.endswith(f"transfer-syntax={syntax}")
    assert (body == values.tobytes()) == (syntax == ExplicitVRLittleEndian)
    assert missing.status_code == 404
    gray = np.asarray(Image.open(io.BytesIO(picture.content)))
    assert np.array_equal(gray, np.rint(np.clip(values / 1000.0, 0.0, 1.0) * 255.0).astype(np.uint8))


def test_pictures_are_jpeg_by_default_and_fit_the_viewport(server: WebServer) -> None:
    uid = server.get(f"{SERIES}/instances").json()[0]["00080018"]["Value"][0]

    picture = server.get(f"{SERIES}/instances/{uid}/frames/1/rendered?viewport=4,4")

    assert picture.headers["Content-Type"] == "image/jpeg"
    assert Image.open(io.BytesIO(picture.content)).size == (4, 4)
    for wrong in ("window=a,b", "window=1,0", "window=nan,1", "viewport=0,0", "viewport=99999,1"):
        assert server.get(f"{SERIES}/instances/{uid}/rendered?{wrong}").status_code == 400


def test_results_stand_beside_the_slices(own_server: WebServer, tmp_path: Path) -> None:
    store(own_server, write_objects(tmp_path / "study"))
    (folder,) = own_server.parts.spool.study_folders()
    result = own_server.parts.spool.result_folder(folder.name, 1, "ab")
    (result / "dicom").mkdir(parents=True)
    report = pydicom.dcmread(next(folder.iterdir()))
    report.SOPInstanceUID = report.file_meta.MediaStorageSOPInstanceUID = UID("1.2.9")
    report.SeriesInstanceUID, report.Modality = UID("1.2.8"), "SR"
    del report.PixelData, report.Rows, report.Columns
    report.save_as(result / "dicom" / "report.dcm")
    before = own_server.get(f"/dicom-web/studies/{STUDY_UID}/series").json()

    answer(own_server.parts.database, folder.name, result_folder=own_server.parts.spool.relative(result))

    after = own_server.get(f"/dicom-web/studies/{STUDY_UID}/series").json()
    assert (len(before), len(after)) == (1, 2)
    assert own_server.get("/dicom-web/studies").json()[0]["00080061"]["Value"] == ["CT", "SR"]
    got = own_server.get(f"/dicom-web/studies/{STUDY_UID}/series/1.2.8/instances/1.2.9", headers=OBJECT)
    assert got.content == (result / "dicom" / "report.dcm").read_bytes()
    assert own_server.get(f"/dicom-web/studies/{STUDY_UID}/series/1.2.8/instances/1.2.9/frames/1").status_code == 406
    shutil.rmtree(folder)
    assert own_server.get(SERIES).status_code == 404  # retention has removed them
