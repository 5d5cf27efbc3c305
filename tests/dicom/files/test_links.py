"""Links to folders are followed once; those that lead nowhere or in circles are told."""

import os
from pathlib import Path

import numpy as np
import pytest
from tests.support.dicom import make_hu, write_series

from cspine.core.errors import SourceError
from cspine.dicom import discover, load_volume
from cspine.dicom.files.listing import list_files
from cspine.dicom.sources import UnreadableFile
from cspine.dicom.study_collection import open_collection

HU = make_hu((12, 20, 24))


@pytest.fixture
def links(tmp_path: Path) -> Path:
    """A folder that holds nothing but a link to a study's folder."""
    write_series(tmp_path / "store" / "study", HU)
    folder = tmp_path / "links"
    folder.mkdir()
    (folder / "study").symlink_to(tmp_path / "store" / "study")
    return folder


def test_a_folder_of_links_to_studies_is_read(links: Path) -> None:
    np.testing.assert_array_equal(load_volume(links).array, HU)


def test_a_folder_that_two_links_lead_to_is_read_once(links: Path) -> None:
    (links / "again").symlink_to(links / "study")
    (links / "deeper").mkdir()
    (links / "deeper" / "study").symlink_to(links / "study")

    assert [file.name for file in list_files(links)] == sorted(f"again/{n}.dcm" for n in range(1, 13))


def test_links_in_circles_end(links: Path, tmp_path: Path) -> None:
    (links / "up").symlink_to(tmp_path)
    (links / "self").symlink_to("self")
    (tmp_path / "store" / "study" / "back").symlink_to(links)

    files = list_files(links)

    assert [file.name for file in files if not isinstance(file, UnreadableFile)] == sorted(
        f"study/{n}.dcm" for n in range(1, 13)
    )
    problems = {file.name: file.problem for file in files if isinstance(file, UnreadableFile)}
    assert problems["up"] == "is a link to a folder that holds it, which is not followed; give that folder"
    assert problems["self"].startswith("cannot be followed")


def test_links_that_lead_nowhere_are_told(links: Path) -> None:
    (links / "study" / "13.dcm").symlink_to(links / "nowhere")
    os.mkfifo(links / "study" / "pipe")

    (study,) = discover(links).studies

    assert study.warnings == (
        "1 file could not be read: study/13.dcm: is a link to a file that is not there; copy the file itself",
    )
    assert [(file.name, file.is_lost) for file in study.skipped] == [("study/13.dcm", True), ("study/pipe", False)]


def test_a_folder_that_cannot_be_listed_is_told(links: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def refuse(path: str) -> object:
        if path.endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    (links / "locked").mkdir()
    monkeypatch.setattr(os, "scandir", refuse)

    (study,) = discover(links).studies

    assert study.warnings == (
        "1 file could not be read: locked: cannot be listed (Permission denied); check its permissions",
    )


def test_a_linked_study_of_the_challenges_layout_is_read_and_a_broken_link_told(links: Path, tmp_path: Path) -> None:
    images = tmp_path / "rsna" / "train_images"
    images.mkdir(parents=True)
    (images / "1.2").symlink_to(links / "study")
    (images / "1.3").symlink_to(tmp_path / "nowhere")
    (images / "1.4.zip").touch()

    collection = open_collection(tmp_path / "rsna")

    (source,) = collection.studies
    assert len(source.open().series[0].headers) == len(HU)
    before = source.fingerprint()
    (links / "study" / "1.dcm").unlink()
    assert source.fingerprint() != before
    assert [(file.name, file.reason.split(";")[0]) for file in collection.skipped] == [
        ("1.3", "is a link to a folder that is not there"),
        ("1.4.zip", "is no study folder"),
    ]


def test_a_folder_of_broken_links_says_so(tmp_path: Path) -> None:
    (tmp_path / "study").symlink_to(tmp_path / "nowhere")

    with pytest.raises(SourceError, match="study: is a link to a file that is not there; copy the file itself"):
        discover(tmp_path)
