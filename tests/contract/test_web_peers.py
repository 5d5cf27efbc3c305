"""DICOMweb with peers of others: dicomweb-client sends and reads, Orthanc sends by its plugin."""

import json
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
import requests
from dicomweb_client.api import DICOMwebClient
from dicomweb_client.session_utils import create_session
from tests.support.dicom import STUDY_UID
from tests.support.orthanc import needs_orthanc, running_orthanc
from tests.support.server import make_parts, write_objects
from tests.support.web import OPERATOR, TOKENS, WebServer, running_web

SERIES_UID = f"{STUDY_UID}.1"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WebServer]:
    with running_web(make_parts(tmp_path / "server", web={"tokens": TOKENS})) as running:
        yield running
    running.parts.database.close()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_dicomweb_client_sends_and_reads(server: WebServer, tmp_path: Path) -> None:
    session = create_session()
    session.headers["Authorization"] = f"Bearer {OPERATOR}"
    client = DICOMwebClient(f"{server.url}/dicom-web", session=session)
    sent = [pydicom.dcmread(path) for path in write_objects(tmp_path / "study")]

    answer = client.store_instances(sent)

    assert len(answer.ReferencedSOPSequence) == 3
    assert "FailedSOPSequence" not in answer
    (study,) = client.search_for_studies(search_filters={"StudyInstanceUID": STUDY_UID})
    assert study["00201208"]["Value"] == [3]
    assert len(client.search_for_series(STUDY_UID)) == 1
    uids = {each["00080018"]["Value"][0] for each in client.search_for_instances(STUDY_UID, SERIES_UID)}
    assert uids == {each.SOPInstanceUID for each in sent}
    assert len(client.retrieve_series_metadata(STUDY_UID, SERIES_UID)) == 3
    back = client.retrieve_series(STUDY_UID, SERIES_UID)
    assert {each.SOPInstanceUID: each.PixelData for each in back} == {
        each.SOPInstanceUID: each.PixelData for each in sent
    }
    uid = sent[0].SOPInstanceUID
    assert client.retrieve_instance(STUDY_UID, SERIES_UID, uid) == sent[0]
    assert client.retrieve_instance_frames(STUDY_UID, SERIES_UID, uid, [1]) == [sent[0].PixelData]
    picture = client.retrieve_instance_rendered(STUDY_UID, SERIES_UID, uid, media_types=("image/png",))
    assert picture.startswith(b"\x89PNG")
    again = client.store_instances(sent)
    assert len(again.ReferencedSOPSequence) == 3


@needs_orthanc
def test_orthanc_sends_by_stow(server: WebServer, tmp_path: Path) -> None:
    paths = write_objects(tmp_path / "study", 5)
    (tmp_path / "orthanc").mkdir()
    with running_orthanc(tmp_path / "orthanc") as orthanc:
        orthanc.store(paths)
        peer = {"Url": f"{server.url}/dicom-web/", "HttpHeaders": {"Authorization": f"Bearer {OPERATOR}"}}
        requests.put(f"{orthanc.url}/dicom-web/servers/cspine", data=json.dumps(peer), timeout=10).raise_for_status()
        (study,) = requests.get(f"{orthanc.url}/studies", timeout=10).json()
        wanted = {"Resources": [study], "Synchronous": True}
        sent = requests.post(f"{orthanc.url}/dicom-web/servers/cspine/stow", data=json.dumps(wanted), timeout=60)
        sent.raise_for_status()

    stored = {pydicom.dcmread(path).SOPInstanceUID for path in server.parts.spool.folder.glob("studies/*/*.dcm")}
    assert stored == {pydicom.dcmread(path).SOPInstanceUID for path in paths}
