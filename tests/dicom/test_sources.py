"""Files in folders and zips, and archives that are unsafe to open."""

import struct
import zipfile
from pathlib import Path

import pytest

from cspine.core.errors import ArchiveError, SourceError
from cspine.dicom.files.limits import ArchiveLimits
from cspine.dicom.files.listing import list_files


def _zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def test_files_in_a_zip_are_read_in_place(tmp_path: Path) -> None:
    path = _zip(tmp_path / "a.zip", {"x/1.dcm": b"one", "x/2.dcm": b"two", "x/.hidden": b""})

    files = list_files(path)

    assert [(file.name, file.read()) for file in files] == [("x/1.dcm", b"one"), ("x/2.dcm", b"two")]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["../evil.dcm", "/etc/passwd", "a/../../b", "..\\evil.dcm", "C:/evil.dcm"])
def test_a_member_outside_the_archive_is_rejected(tmp_path: Path, name: str) -> None:
    path = _zip(tmp_path / "a.zip", {name: b"data"})

    with pytest.raises(ArchiveError, match="leads out of the archive"):
        list_files(path)


def test_a_zip_that_declares_100_gb_is_rejected_before_reading(tmp_path: Path) -> None:
    path = _zip(tmp_path / "bomb.zip", {f"{n}.dcm": b"x" for n in range(100)})
    data = bytearray(path.read_bytes())
    position = data.find(b"PK\x01\x02")
    while position >= 0:  # the central directory's expanded size, 1 GB each
        struct.pack_into("<I", data, position + 24, 10**9)
        position = data.find(b"PK\x01\x02", position + 4)
    path.write_bytes(data)

    with pytest.raises(ArchiveError, match=r"expand to 93\.1 GiB"):
        list_files(path)


def test_a_compression_ratio_beyond_ct_is_rejected(tmp_path: Path) -> None:
    path = _zip(tmp_path / "bomb.zip", {"a.dcm": bytes(2_000_000)})

    with pytest.raises(ArchiveError, match="times, which CT never does"):
        list_files(path, limits=ArchiveLimits(ratio_from_bytes=1_000_000))


def test_a_member_longer_than_declared_is_rejected(tmp_path: Path) -> None:
    path = _zip(tmp_path / "liar.zip", {"a.dcm": b"x" * 1000})
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, data.find(b"PK\x01\x02") + 24, 10)
    path.write_bytes(data)
    (file,) = list_files(path)

    with pytest.raises(ArchiveError, match=r"a\.dcm"):
        file.read()


def test_a_damaged_zip_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "broken.zip"
    path.write_bytes(b"PK\x03\x04 not really")

    with pytest.raises(ArchiveError, match="damaged"):
        list_files(path)


def test_an_empty_folder_and_a_missing_path_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(SourceError, match="empty: the folder is empty"):
        list_files(tmp_path / "empty")
    with pytest.raises(SourceError, match="no such file"):
        list_files(tmp_path / "missing")


@pytest.mark.parametrize("method", [9, 98])  # Deflate64 and PPMd
def test_a_member_compressed_by_a_method_that_is_not_read_is_named(tmp_path: Path, method: int) -> None:
    path = _zip(tmp_path / "a.zip", {"x.dcm": b"1"})
    data = bytearray(path.read_bytes())
    struct.pack_into("<H", data, data.find(b"PK\x01\x02") + 10, method)
    path.write_bytes(data)

    with pytest.raises(
        ArchiveError, match=rf"'x\.dcm' is compressed by method {method}, which is not read; unpack the archive"
    ):
        list_files(path)


def test_names_with_backslashes_are_paths(tmp_path: Path) -> None:
    path = _zip(tmp_path / "a.zip", {"Study\\Series 1\\1.dcm": b"one"})

    assert [(file.name, file.read()) for file in list_files(path)] == [("Study/Series 1/1.dcm", b"one")]


def test_a_member_without_a_name_is_rejected(tmp_path: Path) -> None:
    archive = _zip(tmp_path / "a.zip", {"x.dcm": b"1"})
    archive.write_bytes(archive.read_bytes().replace(b"x.dcm", b"\0.dcm"))  # zipfile cuts names at a zero

    with pytest.raises(ArchiveError, match="a member has no name"):
        list_files(archive)
