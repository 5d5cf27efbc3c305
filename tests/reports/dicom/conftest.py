"""The demo's result, and its DICOM objects as written and read back: made once for all tests of this folder."""

import pydicom
import pytest
from pydicom import Dataset
from tests.support.phantom import predict_case, write_phantom

from cspine.classification.result import CaseResult
from cspine.reports.dicom.objects import write_dicom


@pytest.fixture(scope="session")
def case_result(tmp_path_factory: pytest.TempPathFactory) -> CaseResult:
    return predict_case(write_phantom(tmp_path_factory.mktemp("study")))


@pytest.fixture(scope="session")
def written(case_result: CaseResult, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Dataset]:
    folder = tmp_path_factory.mktemp("dicom")
    return {path.name: pydicom.dcmread(path) for path in write_dicom(case_result, folder)}
