"""What a result's identifiers depend on, and what they do not."""

from dataclasses import replace

import pytest
from tests.support.dicom import make_hu, write_series
from tests.support.phantom import predict_case, write_phantom

from cspine.classification.result import CaseResult
from cspine.core.findings import NotAssessable
from cspine.reports.dicom.objects import dicom_objects
from cspine.reports.fhir import fhir_bundle
from cspine.reports.result_digest import result_digest, slice_names


@pytest.fixture(scope="module")
def case_result(tmp_path_factory: pytest.TempPathFactory) -> CaseResult:
    return predict_case(write_phantom(tmp_path_factory.mktemp("study")))


@pytest.fixture(scope="module")
def rejected(tmp_path_factory: pytest.TempPathFactory) -> CaseResult:
    folder = tmp_path_factory.mktemp("thick")
    write_series(folder, make_hu((16, 32, 40), (6.0, 3.0, 3.0)), spacing=(6.0, 3.0, 3.0))
    return predict_case(folder)


def with_code(case_result: CaseResult, code: str) -> CaseResult:
    reason = NotAssessable(code=code, reason="a reason")
    return replace(case_result, findings=case_result.findings.model_copy(update={"not_assessable": reason}))


def identities(case_result: CaseResult) -> tuple[str, str]:
    """Return the UID of the report, and the identifier of the bundle."""
    bundle = fhir_bundle(case_result).model_dump()
    return str(dicom_objects(case_result)["report.dcm"].SOPInstanceUID), bundle["identifier"]["value"]


def test_other_pixels_under_the_same_uids_are_another_result(case_result: CaseResult) -> None:
    compiled = case_result.compiled
    assert compiled is not None
    assert compiled.provenance.pixel_digest
    corrected = replace(compiled, provenance=replace(compiled.provenance, pixel_digest="0" * 64))

    first, other = identities(case_result), identities(replace(case_result, compiled=corrected))

    assert first == identities(case_result)
    assert not {*first} & {*other}


def test_a_missing_slice_is_another_result(case_result: CaseResult) -> None:
    assert case_result.series is not None
    names = slice_names(case_result.series.headers)

    assert len(set(names)) == len(case_result.series.headers)
    digests = {result_digest(case_result.findings, each, "") for each in (names, names[1:])}
    assert len(digests) == 2


def test_another_reason_of_a_study_that_is_not_assessable_is_another_result(rejected: CaseResult) -> None:
    assert rejected.findings.not_assessable is not None
    assert rejected.findings.not_assessable.code == "too-thick"

    first, other = identities(rejected), identities(with_code(rejected, "pixels"))

    assert first == identities(with_code(rejected, "too-thick"))  # its sentence may name files
    assert not {*first} & {*other}


def test_names_of_files_are_no_part_of_the_result(rejected: CaseResult) -> None:
    assert rejected.series is not None
    turned = replace(rejected, series=replace(rejected.series, headers=rejected.series.headers[::-1]))

    assert identities(turned) == identities(rejected)
