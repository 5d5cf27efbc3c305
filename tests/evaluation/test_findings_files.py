"""Folders of findings: links are followed, and nothing is passed over without a word."""

from pathlib import Path

import pytest
from tests.support.predictions import make_findings

from cspine.core.errors import LabelError
from cspine.core.files import write_text
from cspine.evaluation.findings_files import read_findings_files
from cspine.evaluation.predictions import read_predictions


def write_result(folder: Path, study: str) -> Path:
    """Write the findings of a study into a folder of its own, and return their file."""
    path = folder / study / "findings.json"
    write_text(path, make_findings(study, {}).model_dump_json())
    return path


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Findings of two studies, in a folder each."""
    for study in ("1.1", "1.2"):
        write_result(tmp_path / "results", study)
    return tmp_path / "results"


@pytest.fixture
def links(tmp_path: Path) -> Path:
    """An empty folder for links."""
    (tmp_path / "links").mkdir()
    return tmp_path / "links"


def test_links_to_folders_and_to_files_are_followed(results: Path, links: Path) -> None:
    (links / "folder").symlink_to(results / "1.1")
    (links / "study 1.2.json").symlink_to(results / "1.2" / "findings.json")

    predictions = read_predictions(links)

    assert sorted(predictions.probability.index) == ["1.1", "1.2"]
    assert predictions.warnings == ()


def test_a_folder_that_is_a_link_is_read(results: Path, links: Path) -> None:
    (links / "all").symlink_to(results)
    (links / "link").symlink_to(links / "all")

    assert sorted(read_predictions(links / "link").probability.index) == ["1.1", "1.2"]


def test_what_two_links_lead_to_is_read_once(results: Path) -> None:
    (results / "latest").symlink_to(results / "1.2")
    (results / "loop").symlink_to(results)
    (results / "1.1.json").symlink_to(results / "1.1" / "findings.json")

    assert sorted(read_predictions(results).probability.index) == ["1.1", "1.2"]


def test_files_of_other_names_are_read_where_there_is_no_findings_json(results: Path, links: Path) -> None:
    write_text(links / "1.3.json", make_findings("1.3", {}).model_dump_json(indent=1))
    write_text(links / "summary.json", '{"n_studies": 1}')
    write_text(results / "1.1" / "copy.json", make_findings("1.1", {}).model_dump_json())

    assert list(read_predictions(links).probability.index) == ["1.3"]
    assert len(read_findings_files(results).findings) == 2


def test_links_that_lead_nowhere_and_incomplete_files_are_named(results: Path) -> None:
    (results / "1.3").symlink_to(results / "gone")
    (results / "1.4.json").write_text('{"schema_version": "3.0", "study_inst')

    warnings = read_predictions(results).warnings

    assert warnings == (
        f"1 links in the folder of findings lead nowhere; restore what they lead to (first: {results / '1.3'})",
        "1 files in the folder of findings are incomplete JSON; predict again if they held findings "
        f"(first: {results / '1.4.json'})",
    )


def test_every_damaged_findings_file_is_counted_and_the_first_are_named(results: Path) -> None:
    (results / "1.1" / "findings.json").write_text("{")
    with pytest.raises(LabelError, match=r"1\.1/findings\.json: holds no findings"):
        read_predictions(results)

    write_result(results, "1.3").write_text("")
    (results / "1.4").mkdir()
    (results / "1.4" / "findings.json").symlink_to(results / "gone")

    with pytest.raises(LabelError, match="3 of 4 findings files cannot be used") as caught:
        read_predictions(results)
    for study in ("1.1", "1.3", "1.4"):
        assert str(results / study / "findings.json") in str(caught.value)


def test_a_folder_that_cannot_be_listed_is_refused(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def walk(top: Path, *, followlinks: bool, onerror: object) -> list[object]:
        assert followlinks
        assert callable(onerror)
        onerror(PermissionError(13, "Permission denied", str(top / "1.2")))
        return []

    monkeypatch.setattr("os.walk", walk)

    with pytest.raises(LabelError, match=r"1\.2: cannot be read \(Permission denied\), and may hold findings"):
        read_predictions(results)
