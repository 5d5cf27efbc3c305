"""FHIR bundles against HL7's own definitions, by Medplum's validator: R5 with the profiles that they claim, and R4.

Research use only, not a medical device.
"""

import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset

from cspine.classification.result import CaseResult
from cspine.core.extras import FhirRelease
from cspine.reports.fhir import write_fhir
from tests.support.dicom import make_hu, write_series
from tests.support.phantom import as_suspicious, predict_case, write_phantom
from tests.viewers.npm_packages import needs_node, node_folder, node_program

pytestmark = needs_node

Bundle = dict[str, Any]
Validate = Callable[[Sequence[Path], FhirRelease], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def validate(pytestconfig: pytest.Config) -> Validate:
    folder, node = node_folder(pytestconfig), node_program(pytestconfig)

    def run(paths: Sequence[Path], release: FhirRelease) -> list[dict[str, Any]]:
        command = [node, str(folder / "validate_fhir.mjs"), release, *map(str, paths)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)  # type: ignore[no-any-return]

    return run


@pytest.fixture(scope="module")
def case_result(tmp_path_factory: pytest.TempPathFactory) -> CaseResult:
    def change(dataset: Dataset) -> None:
        dataset.FrameOfReferenceUID, dataset.IssuerOfPatientID = "1.2.3.4", "Hospital A"

    return as_suspicious(predict_case(write_phantom(tmp_path_factory.mktemp("study"), change)), {"C2", "C6"})


@pytest.mark.parametrize("release", ["R5", "R4"])
def test_bundles_are_valid(release: FhirRelease, case_result: CaseResult, validate: Validate, tmp_path: Path) -> None:
    write_series(tmp_path / "ct", make_hu((16, 32, 40), (6.0, 3.0, 3.0)), spacing=(6.0, 3.0, 3.0))
    write_fhir(case_result, tmp_path / "fhir.json", release)
    write_fhir(predict_case(tmp_path / "ct"), tmp_path / "rejected.json", release)

    assessed, rejected = validate([tmp_path / f"{name}.json" for name in ("fhir", "rejected")], release)

    assert (assessed["problems"], rejected["problems"]) == ([], [])
    assert rejected["resources"] == 4
    assert assessed["bindings"] > 8  # the status of every Observation, and more
    claimed = (tmp_path / "fhir.json").read_text().count("hl7.org/fhir/uv/dicom-sr/StructureDefinition/")
    assert assessed["profiles"] == claimed
    assert (claimed > 20) == (release == "R5")  # the guide is of R5


def without(name: str, kind: str) -> Callable[[Bundle], None]:
    def remove(bundle: Bundle) -> None:
        for entry in bundle["entry"]:
            if entry["resource"]["resourceType"] == kind:
                entry["resource"].pop(name, None)

    return remove


def with_value(name: str, kind: str, value: Any) -> Callable[[Bundle], None]:
    def change(bundle: Bundle) -> None:
        for entry in bundle["entry"]:
            if entry["resource"]["resourceType"] == kind:
                entry["resource"][name] = value

    return change


FAULTS: tuple[tuple[Callable[[Bundle], None], str], ...] = (
    (without("status", "DiagnosticReport"), "Missing required property"),
    (without("frameOfReferenceUid", "ImagingSelection"), "Missing required property"),  # of the profile alone
    (without("issued", "Observation"), "Missing required property"),
    (with_value("status", "Observation", "guessed"), "guessed is not in"),
    (with_value("colour", "Device", "red"), "Invalid additional property"),
    (with_value("code", "ImagingSelection", {"text": "a region"}), "Value did not match expected pattern"),
    (with_value("partOf", "Observation", [{"reference": "ImagingStudy/1"}]), "Missing required property"),
    (with_value("device", "Observation", {"reference": "urn:uuid:0"}), "Invalid reference"),
)


def test_faults_are_noticed(case_result: CaseResult, validate: Validate, tmp_path: Path) -> None:
    write_fhir(case_result, tmp_path / "fhir.json", "R5")
    paths = []
    for number, (fault, _) in enumerate(FAULTS):
        bundle = json.loads((tmp_path / "fhir.json").read_text())
        fault(bundle)
        paths.append(tmp_path / f"{number}.json")
        paths[-1].write_text(json.dumps(bundle))

    for (_, problem), result in zip(FAULTS, validate(paths, "R5"), strict=True):
        assert any(problem in each for each in result["problems"]), (problem, result["problems"][:3])
