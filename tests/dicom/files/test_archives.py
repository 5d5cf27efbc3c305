"""Archives and compressed files are read in place within limits that archives inside them share."""

import bz2
import gzip
import io
import os
import pickle
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from tests.support.dicom import make_hu, write_series

from cspine.core.errors import ArchiveError, SourceError
from cspine.dicom import discover, load_volume
from cspine.dicom.files.limits import ArchiveLimits
from cspine.dicom.files.listing import list_files
from cspine.dicom.sources import UnreadableFile

HU = make_hu((12, 20, 24))


def tar(path: Path, members: dict[str, bytes], mode: Literal["w", "w:gz", "w:bz2", "w:xz"] = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def pack_zip(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def series(folder: Path) -> dict[str, bytes]:
    return {f"study/{path.name}": path.read_bytes() for path in write_series(folder, HU)}


def each_compressed(path: Path, members: dict[str, bytes], compress: Callable[[bytes], bytes], ending: str) -> Path:
    path.mkdir()
    for name, data in members.items():
        (path / f"{Path(name).name}{ending}").write_bytes(compress(data))
    return path


PACKERS: dict[str, Callable[[Path, dict[str, bytes]], Path]] = {
    "tar": lambda path, files: tar(path / "a.tar", files),
    "tar.gz": lambda path, files: tar(path / "a.tar.gz", files, "w:gz"),
    "tgz without an ending": lambda path, files: tar(path / "a", files, "w:gz"),
    "tar.bz2": lambda path, files: tar(path / "a.tar.bz2", files, "w:bz2"),
    "gzip of each file": lambda path, files: each_compressed(path / "gz", files, gzip.compress, ".gz"),
    "bzip2 of each file": lambda path, files: each_compressed(path / "bz2", files, bz2.compress, ".bz2"),
    "zip by LZMA": lambda path, files: pack_zip(path / "a.zip", files, zipfile.ZIP_LZMA),
    "zip by bzip2": lambda path, files: pack_zip(path / "a.zip", files, zipfile.ZIP_BZIP2),
    "zip in a folder": lambda path, files: pack_zip(path / "a.zip", files).parent,
    "zip in a zip": lambda path, files: pack_zip(
        path / "b.zip", {"x/a.zip": pack_zip(path / "a.zip", files).read_bytes()}
    ),
    "tar.gz in a zip": lambda path, files: pack_zip(
        path / "b.zip", {"x/a.tgz": tar(path / "a.tgz", files, "w:gz").read_bytes()}
    ),
    "gzip of each file in a tar": lambda path, files: tar(
        path / "a.tar", {f"{name}.gz": gzip.compress(data) for name, data in files.items()}
    ),
}


@pytest.mark.parametrize("packer", PACKERS)
def test_a_packed_study_is_read_in_place(tmp_path: Path, packer: str) -> None:
    (tmp_path / "in").mkdir()

    path = PACKERS[packer](tmp_path / "in", series(tmp_path / "plain"))

    np.testing.assert_array_equal(load_volume(path).array, HU)


def test_files_of_a_compressed_tar_are_read_in_another_process(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar.gz", {"1.dcm": b"one", "./2.dcm": b"two", ".hidden": b""}, "w:gz")

    files = pickle.loads(pickle.dumps(list_files(path)))

    assert [(file.name, file.size, file.read(), file.read(2)) for file in files] == [
        ("1.dcm", 3, b"one", b"on"),
        ("2.dcm", 3, b"two", b"tw"),
    ]


def test_a_file_and_its_copy_in_a_zip_are_one_study(tmp_path: Path) -> None:
    pack_zip(tmp_path / "copy.zip", series(tmp_path / "study"))

    (study,) = discover(tmp_path).studies

    assert sum(len(each.headers) for each in study.series) == 2 * len(HU)
    np.testing.assert_array_equal(load_volume(tmp_path).array, HU)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (tarfile.SYMTYPE, {"linkname": "/etc/passwd"}, "'x' is a link; pack the files themselves"),
        (tarfile.LNKTYPE, {"linkname": "y"}, "'x' is a link; pack the files themselves"),
        (tarfile.CHRTYPE, {}, "'x' is a device and no file"),
        (tarfile.FIFOTYPE, {}, "'x' is a device and no file"),
        (tarfile.REGTYPE, {"name": "/etc/passwd"}, "leads out of the archive"),
        (tarfile.REGTYPE, {"name": "a/../../x"}, "leads out of the archive"),
    ],
)
def test_an_unsafe_member_of_a_tar_is_rejected(
    tmp_path: Path, kind: bytes, options: dict[str, str], message: str
) -> None:
    info = tarfile.TarInfo("x")
    info.type = kind
    for name, value in options.items():
        setattr(info, name, value)
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.addfile(info)

    with pytest.raises(ArchiveError, match=message):
        list_files(tmp_path / "a.tar")


LIMITS = ArchiveLimits(ratio_from_bytes=100_000)


@pytest.mark.parametrize(
    "bomb",
    [
        lambda path, zeros: tar(path / "a.tar.gz", {"1.dcm": zeros}, "w:gz"),
        lambda path, zeros: tar(path / "a.tar.bz2", {"1.dcm": zeros}, "w:bz2"),
        lambda path, zeros: [(path / "a.gz").write_bytes(gzip.compress(zeros)), path / "a.gz"][1],
        lambda path, zeros: pack_zip(path / "b.zip", {"a.zip": pack_zip(path / "a.zip", {"1": zeros}).read_bytes()}),
        lambda path, zeros: pack_zip(path / "b.zip", {"a.gz": gzip.compress(zeros)}),
    ],
    ids=["tar.gz", "tar.bz2", "gz", "zip in zip", "gz in zip"],
)
def test_a_bomb_is_rejected(tmp_path: Path, bomb: Callable[[Path, bytes], Path]) -> None:
    path = bomb(tmp_path, bytes(2_000_000))

    with pytest.raises(ArchiveError, match="times, which CT never does"):
        list_files(path, limits=LIMITS)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_files_of_one_name_in_a_zip_are_all_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for data in series(tmp_path / "plain").values():
            archive.writestr("study/IM1", data)

    np.testing.assert_array_equal(load_volume(tmp_path / "a.zip").array, HU)


def test_a_zip_that_declares_less_than_it_expands_to_takes_no_memory(tmp_path: Path) -> None:
    path = pack_zip(tmp_path / "a.zip", {"1.dcm": bz2.compress(bytes(100_000_000))}, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    for magic, method, size in ((b"PK\x03\x04", 8, 22), (b"PK\x01\x02", 10, 24)):
        struct.pack_into("<H", data, data.index(magic) + method, zipfile.ZIP_BZIP2)
        struct.pack_into("<I", data, data.index(magic) + size, 20_000)
    path.write_bytes(data)
    (file,) = list_files(path)

    tracemalloc.start()
    with pytest.raises(ArchiveError, match=r"longer than a\.zip declares"):
        file.read()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 10_000_000


def test_lzma_in_a_zip_expands_in_bounded_memory(tmp_path: Path) -> None:
    path = pack_zip(tmp_path / "a.zip", {"1.dcm": bytes(200_000_000)}, zipfile.ZIP_LZMA)
    data = bytearray(path.read_bytes())
    for magic, size in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", data, data.index(magic) + size, 20_000)
    path.write_bytes(data)
    (file,) = list_files(path)

    tracemalloc.start()
    with pytest.raises(ArchiveError, match=r"damaged|longer"):
        file.read()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 80_000_000


def test_archives_inside_an_archive_share_its_limits(tmp_path: Path) -> None:
    inner = pack_zip(tmp_path / "inner.zip", {f"{n}.dcm": os.urandom(50) for n in range(6)}).read_bytes()
    path = pack_zip(tmp_path / "outer.zip", {"a.zip": inner, "b.zip": inner})

    with pytest.raises(ArchiveError, match="holds 14 files, at most 10 are read"):
        list_files(path, limits=ArchiveLimits(max_files=10))
    assert len(list_files(path, limits=ArchiveLimits(max_files=14))) == 12


def test_an_archive_three_deep_is_named(tmp_path: Path) -> None:
    data = b"x"
    for name in ("1.dcm", "a.zip", "b.zip"):
        data = pack_zip(tmp_path / "x.zip", {name: data}).read_bytes()

    (file,) = list_files(tmp_path / "x.zip")

    assert isinstance(file, UnreadableFile)
    assert file.name == "b.zip/a.zip"
    assert file.problem == "is an archive in an archive in an archive; unpack it first"


@pytest.mark.parametrize("cut", [700, 1300, 1600])
def test_a_tar_that_is_cut_off_is_rejected(tmp_path: Path, cut: int) -> None:
    data = tar(tmp_path / "a.tar", {"1.dcm": b"x" * 300, "2.dcm": b"y" * 300}).read_bytes()
    (tmp_path / "cut.tar").write_bytes(data[:cut])
    (tmp_path / "cut.tar.gz").write_bytes(gzip.compress(data[:cut]))

    for name in ("cut.tar", "cut.tar.gz"):
        with pytest.raises(ArchiveError, match=r"is damaged \(ReadError\); download or pack it again"):
            list_files(tmp_path / name)


def test_an_extended_header_of_a_tar_is_bounded(tmp_path: Path) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 10**9
    (tmp_path / "a.tar").write_bytes(info.tobuf() + bytes(10_240))

    with pytest.raises(ArchiveError, match="is damaged"):
        list_files(tmp_path / "a.tar")


@pytest.mark.parametrize(
    ("magic", "description"),
    [
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
        (b"Rar!\x1a\x07\x01\0", "a rar archive"),
        (b"\xfd7zXZ\0", "compressed with xz"),
        (b"\x28\xb5\x2f\xfd", "compressed with zstd"),
    ],
)
def test_archives_that_are_not_read_are_named(tmp_path: Path, magic: bytes, description: str) -> None:
    (tmp_path / "study").write_bytes(magic + bytes(500))

    with pytest.raises(SourceError, match=f"study: is {description}, which is not read; unpack it first"):
        discover(tmp_path)


def test_a_bad_archive_beside_a_study_is_named_in_its_warnings(tmp_path: Path) -> None:
    write_series(tmp_path, HU)
    (tmp_path / "more.zip").write_bytes(b"PK\x03\x04 not really")
    (tmp_path / "rest.rar").write_bytes(b"Rar!\x1a\x07\x01\0" + bytes(100))

    (study,) = discover(tmp_path).studies

    assert study.warnings == (
        "2 files could not be read, first: more.zip, rest.rar: is damaged (BadZipFile); download or pack it again",
    )


def test_a_damaged_compressed_file_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    each_compressed(tmp_path / "gz", series(tmp_path / "plain"), gzip.compress, ".gz")
    (tmp_path / "gz" / "12.dcm.gz").write_bytes(gzip.compress(os.urandom(900))[:500])

    (study,) = discover(tmp_path / "gz").studies

    assert len(study.series[0].headers) == len(HU) - 1
    (warning,) = study.warnings
    assert warning.startswith("1 file could not be read: 12.dcm.gz: damaged inside its compression")
