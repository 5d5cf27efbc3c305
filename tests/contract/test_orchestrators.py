"""`cspine run` as orchestrators run it: no network, an unknown user without a home, a read-only root, /tmp alone."""

import json
import sys
from pathlib import Path
from typing import Any

import pydicom
import pytest
from tests.support.confined import INPUT, OUTPUT, missing_reason, run_confined
from tests.support.dicom import make_hu, write_series
from tests.support.phantom import write_phantom

from cspine.core.anatomy import RESEARCH_USE_ONLY

MERCURE = {"MERCURE_IN_DIR": str(INPUT), "MERCURE_OUT_DIR": str(OUTPUT)}
HOLOSCAN = {"HOLOSCAN_INPUT_PATH": str(INPUT), "HOLOSCAN_OUTPUT_PATH": str(OUTPUT)}
MONAI = {"MONAI_INPUTPATH": str(INPUT), "MONAI_OUTPUTPATH": str(OUTPUT)}
THICK = make_hu((16, 32, 40), (6.0, 3.0, 3.0))


@pytest.fixture(scope="module", autouse=True)
def _confinement() -> None:
    reason = missing_reason()
    if reason is not None:
        pytest.skip(reason)


def run(folder: Path, environment: dict[str, str]) -> tuple[int, str, dict[str, Any], set[str]]:
    """Run on folder/in; return the exit code, standard error, result.json and the names of the other files."""
    (folder / "in").mkdir(exist_ok=True)
    (folder / "out").mkdir()
    done = run_confined(
        [sys.executable, "-m", "cspine", "run"],
        input_folder=folder / "in",
        output_folder=folder / "out",
        environment=environment,
    )
    names = {path.name for path in (folder / "out").iterdir()}
    assert "Traceback" not in done.stderr
    assert "result.json" in names, done.stderr
    result = json.loads((folder / "out" / "result.json").read_text())
    assert result["statement"] == RESEARCH_USE_ONLY
    assert result["__mercure_notification"]["text"].endswith(RESEARCH_USE_ONLY)
    return done.returncode, done.stderr, result, names - {"result.json"}


def test_a_good_study_yields_flat_objects_and_a_notification(tmp_path: Path) -> None:
    write_phantom(tmp_path / "in")
    (tmp_path / "in" / "task.json").write_text('{"id": "1", "process": {"settings": {}}}')  # as mercure puts it there

    code, stderr, result, names = run(tmp_path, MERCURE)

    assert code == 0, stderr
    assert names == set(result["studies"][0]["files"]) >= {"report.dcm"}
    assert all(pydicom.dcmread(tmp_path / "out" / name).StudyInstanceUID for name in names)
    assert (result["status"], result["summary"]["suspicious"], result["error"]) == ("answered", 1, None)
    assert result["__mercure_notification"]["requested"] is True
    assert result["__mercure_notification"]["text"].startswith("Cervical spine CT: any fracture ")


def test_a_study_that_is_not_assessable_is_answered(tmp_path: Path) -> None:
    write_series(tmp_path / "in", THICK, spacing=(6.0, 3.0, 3.0), study="1.2.3.4", series="1.2.3.4.1")

    code, _, result, _ = run(tmp_path, HOLOSCAN)

    assert code == 0
    assert result["studies"][0]["status"] == "not-assessable"
    assert result["studies"][0]["findings"]["not_assessable"]["code"] == "too-thick"
    assert "send the thin bone-kernel series" in result["__mercure_notification"]["text"]
    assert result["__mercure_notification"]["requested"] is True


def test_an_empty_folder_is_a_failed_job_with_a_reason(tmp_path: Path) -> None:
    code, stderr, result, names = run(tmp_path, MONAI)

    assert (code, names) == (2, set())
    assert "the folder is empty" in stderr
    assert result["status"] == "failed"
    assert "the folder is empty" in result["error"]


def test_files_that_are_broken_are_a_failed_job_or_named_in_the_answer(tmp_path: Path) -> None:
    (tmp_path / "rubbish" / "in").mkdir(parents=True)
    (tmp_path / "rubbish" / "in" / "1.dcm").write_bytes(b"no DICOM at all" * 100)
    for path in write_series(tmp_path / "cut" / "in", THICK, spacing=(2.5, 3.0, 3.0), study="1.2.3.5")[::2]:
        path.write_bytes(path.read_bytes()[:-500])

    code, _, result, names = run(tmp_path / "rubbish", MERCURE)
    cut_code, _, cut_result, _ = run(tmp_path / "cut", MERCURE)

    assert (code, result["status"], names) == (2, "failed", set())
    assert "1.dcm" in result["error"]
    assert (cut_code, cut_result["status"]) == (0, "answered")
    assert cut_result["studies"][0]["findings"]["not_assessable"]["code"] in {"geometry", "pixels", "no-series"}
