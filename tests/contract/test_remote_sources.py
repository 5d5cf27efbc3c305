"""Studies of an S3 server and of Orthanc's DICOMweb give what the same files give on the disk; stores take results."""

import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest
from tests.support.object_store import BUCKET, ObjectStore
from tests.support.orthanc import Server, needs_orthanc, running_orthanc
from tests.support.phantom import write_phantom
from typer.testing import CliRunner

from cspine.cli.application import app
from cspine.core.errors import OutputError
from cspine.core.storage.locations import as_path
from cspine.core.storage.store import forget_stores
from cspine.datasets.compiled import CompiledDataset
from cspine.dicom.loading import load_volume
from cspine.dicom.study_collection import open_collection
from cspine.evaluation.findings_files import read_findings_files
from cspine.pipelines.compile import compile_dataset
from cspine.pipelines.predict_batch import predict_batch

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

NAMES_THE_SOURCE = {"dataset.json", "predict.json", "source.json"}
"""Files that say where a study came from."""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantom(tmp_path_factory.mktemp("local") / "study")


@pytest.fixture(scope="module")
def local(study: Path) -> Path:
    """What is compiled and predicted from the disk."""
    folder = study.parent
    compile_dataset(study, folder / "compiled")
    predict_batch(study, folder / "predicted")
    return folder


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory, study: Path) -> Iterator[str]:
    """The DICOMweb URL of an archive that holds the study."""
    with running_orthanc(tmp_path_factory.mktemp("orthanc")) as server:
        _store(server, study)
        forget_stores()
        yield f"dicomweb+{server.url}/dicom-web"
        forget_stores()


def _store(server: Server, study: Path) -> None:
    server.store(sorted(study.iterdir()))


def _files(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in paths if path.name not in NAMES_THE_SOURCE
    }


def test_a_bucket_gives_and_takes_the_same_files(object_store: ObjectStore, local: Path, study: Path) -> None:
    url = object_store.upload(study, "studies/one")

    compile_dataset(url, f"s3://{BUCKET}/compiled")
    predict_batch(url, f"s3://{BUCKET}/predicted")

    assert _files(as_path(f"s3://{BUCKET}/compiled")) == _files(local / "compiled")
    assert _files(as_path(f"s3://{BUCKET}/predicted")) == _files(local / "predicted")
    read, same_findings = (read_findings_files(folder).findings for folder in (as_path(f"s3://{BUCKET}"), local))
    assert read == same_findings
    dataset, same = CompiledDataset.open(as_path(f"s3://{BUCKET}/compiled")), CompiledDataset.open(local / "compiled")
    assert dataset.levels().equals(same.levels())
    path = same.levels()["path"][0]
    assert (dataset.read_images([path], 64) == same.read_images([path], 64)).all()


def test_headers_come_first_and_each_slice_once(object_store: ObjectStore, study: Path) -> None:
    url = object_store.upload(study, "studies/one")
    n_files = len(list(study.iterdir()))
    object_store.requests.clear()

    (source,) = open_collection(url).studies
    assert source.study is not None
    heads = [
        one_range for method, path, one_range in object_store.requests if path.startswith(f"/{BUCKET}/studies/one/")
    ]

    assert heads.count("bytes=0-16383") == n_files


@needs_orthanc
def test_an_archive_gives_the_same_files(orthanc: str, local: Path, tmp_path: Path) -> None:
    uid = open_collection(local / "study").studies[0].study_instance_uid

    compile_dataset(f"{orthanc}/studies/{uid}", tmp_path / "compiled")
    predict_batch(f"{orthanc}/studies?StudyInstanceUID={uid}", tmp_path / "predicted")

    compiled, same = _files(tmp_path / "compiled"), _files(local / "compiled")
    records = [json.loads(files.pop(f"records/{uid}.json")) for files in (compiled, same)]
    for record in records:
        record.pop("bytes_in")  # an archive does not say the sizes of files
    assert records[0] == records[1]
    for name in ("manifest", "levels", "studies"):  # tables name the hash of the records
        del compiled[f"{name}.parquet"], same[f"{name}.parquet"]
    assert compiled == same
    assert (
        CompiledDataset.open(tmp_path / "compiled").levels().equals(CompiledDataset.open(local / "compiled").levels())
    )
    assert _files(tmp_path / "predicted") == _files(local / "predicted")


def test_a_compilation_that_the_store_interrupts_is_resumed(
    object_store: ObjectStore, local: Path, study: Path
) -> None:
    url, out = object_store.upload(study, "studies/one"), f"s3://{BUCKET}/compiled"
    object_store.answers = lambda method, path: 403 if method == "PUT" and path.endswith("C5.jpg") else None
    with pytest.raises(OutputError, match=rf"^s3://{BUCKET}/compiled/images/.*C5.jpg: .*credentials"):
        compile_dataset(url, out)
    assert "records" not in {path.name for path in as_path(out).iterdir()}

    object_store.answers = lambda method, path: None  # noqa: ARG005
    first = compile_dataset(url, out)
    again = compile_dataset(url, out)

    assert (first.compiled, again.compiled, again.resumed) == (1, 0, 1)
    assert _files(as_path(out)) == _files(local / "compiled")


def _run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, " ".join(result.output.split())


def test_commands_take_urls_and_report_one_sentence(
    object_store: ObjectStore, study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    url = object_store.upload(study, "studies/one")
    out = f"s3://{BUCKET}/spine"

    assert _run("inspect", url)[0] == 0
    assert _run("localize", url, "--out", out)[0] == 0
    assert as_path(f"{out}/spine.json").is_file()
    for wrong, sentence in {
        f"s3://{BUCKET}/nothing": "there is no such file or folder; check the path",
        "s3://no-such-bucket/x": "there is no such bucket; check its name",
        "ftp://host/x": "ftp:// is not read; use s3://",
    }.items():
        code, text = _run("inspect", wrong)
        assert (code, sentence in text) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_a_zip_is_read_by_ranges(object_store: ObjectStore, tmp_path: Path) -> None:
    archive = tmp_path / "zips" / "study.zip"
    archive.parent.mkdir()
    archive.write_bytes(resources.files("cspine.phantom").joinpath("embedded/study.zip").read_bytes())
    url = object_store.upload(archive.parent, "zips")
    object_store.client.put_object_acl(Bucket=BUCKET, Key="zips/study.zip", ACL="public-read")
    by_http = f"{object_store.url}/{BUCKET}/zips/study.zip"

    same, remote, public = (load_volume(path, step=8) for path in (archive, f"{url}/study.zip", by_http))

    assert (remote.array == same.array).all()
    assert (public.array == same.array).all()
