"""De-identified pixels are read by every reader, hold nothing but the image, and are compared before they count."""

import struct
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.encaps import generate_frames, parse_fragments
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid
from tests.support.codecs import SYNTAXES, Stored, Syntax
from tests.support.dicom import make_hu, write_enhanced, write_series

from cspine.deidentify.key import PseudonymKey
from cspine.deidentify.pixels import set_pixels
from cspine.deidentify.profile import ConfidentialityProfile
from cspine.deidentify.study import DeidentificationSummary, deidentify
from cspine.dicom import load_volume
from cspine.dicom.codec.encapsulation import read_frames
from cspine.dicom.codec.header import SliceHeader

HU = (make_hu((12, 20, 24)) + np.random.default_rng(2).integers(0, 90, (12, 20, 24))).astype(np.int16)
KEY = PseudonymKey(b"k" * 32)
SECRET = b"Geheim^Nis"
TAG, DELIMITER = b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff", b"\xfe\xff\xdd\xe0\0\0\0\0"
COMPRESSED = tuple(syntax for syntax in SYNTAXES if syntax.encode is not None)


def run(path: Path, out: Path) -> DeidentificationSummary:
    return deidentify(path, out, ConfidentialityProfile(KEY))


def written(out: Path) -> list[Dataset]:
    return [dcmread(path) for path in sorted(out.rglob("*.dcm"))]


def syntax_named(name: str) -> Syntax:
    return next(syntax for syntax in SYNTAXES if syntax.name == name)


def all_bytes(out: Path) -> bytes:
    return b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name)
def test_voxels_of_every_transfer_syntax_stay(tmp_path: Path, syntax: Syntax) -> None:
    write_series(tmp_path / "in", HU, syntax=syntax.uid, encode=syntax.encode, change=syntax.change)

    summary = run(tmp_path / "in", tmp_path / "out")

    assert (summary.written, summary.exclusions) == (12, {})
    np.testing.assert_array_equal(load_volume(tmp_path / "out").array, load_volume(tmp_path / "in").array)
    syntaxes = {dataset.file_meta.TransferSyntaxUID for dataset in written(tmp_path / "out")}
    assert syntaxes == {syntax_named("explicit").uid if syntax.name == "deflated" else syntax.uid}


def odd_items(frame: bytes) -> bytes:
    """Return a frame of odd length in two fragments of odd length, behind a wrong table and before personal bytes."""
    end = len(frame) - (len(frame) % 2 == 0 and frame.endswith(b"\0"))
    parts = (b"\0\0\0\0\0", frame[:33], frame[33:end])
    encoded = [b"\xfe\xff\x00\xe0" + struct.pack("<I", len(part)) + part + b"\0" * (len(part) % 2) for part in parts]
    return b"".join(encoded) + DELIMITER + SECRET


@pytest.mark.parametrize("syntax", COMPRESSED, ids=lambda syntax: syntax.name)
def test_items_of_odd_length_are_written_as_even_ones(tmp_path: Path, syntax: Syntax) -> None:
    for path in write_series(tmp_path / "in", HU, syntax=syntax.uid, encode=syntax.encode, change=syntax.change):
        data = path.read_bytes()
        frame = bytes(read_frames(dcmread(path).PixelData, 1)[0])
        path.write_bytes(data[: data.index(TAG) + len(TAG)] + odd_items(frame))

    assert run(tmp_path / "in", tmp_path / "out").written == 12

    for dataset in written(tmp_path / "out"):
        assert parse_fragments(dataset.PixelData) == (2, [0, 12])  # the table, and one item
        (frame,) = generate_frames(dataset.PixelData, number_of_frames=1)
        assert len(frame) % 2 == 0
    np.testing.assert_array_equal(load_volume(tmp_path / "out").array, load_volume(tmp_path / "in").array)
    assert SECRET not in all_bytes(tmp_path / "out")


@pytest.mark.parametrize("name", ["rle", "jpeg-ls", "jpeg-2000-lossless", "deflated", "explicit"])
def test_frames_of_an_enhanced_image_stay(tmp_path: Path, name: str) -> None:
    syntax = syntax_named(name)

    def extend(dataset: Dataset) -> None:
        if syntax.encode is not None:
            dataset.ExtendedOffsetTable = dataset.ExtendedOffsetTableLengths = bytes(8 * 12)

    write_enhanced(tmp_path / "in" / "e", HU, syntax=syntax.uid, encode=syntax.encode, change=extend)

    assert run(tmp_path / "in", tmp_path / "out").written == 1

    (dataset,) = written(tmp_path / "out")
    assert "ExtendedOffsetTable" not in dataset
    assert dataset.pixel_array.shape == (12, 20, 24)
    np.testing.assert_array_equal(load_volume(tmp_path / "out").array, HU)


def jpeg_with_texts(pixels: Stored) -> bytes:
    encode = syntax_named("jpeg-lossless-sv1").encode
    assert encode is not None
    frame, segment = encode(pixels), struct.pack(">H", len(SECRET) + 2) + SECRET
    return frame[:2] + b"\xff\xfe" + segment + b"\xff\xe1" + segment + frame[2:] + SECRET


def jpeg_2000_with_texts(pixels: Stored) -> bytes:
    encode = syntax_named("jpeg-2000-lossless").encode
    assert encode is not None
    frame, segment = encode(pixels), b"\xff\x64" + struct.pack(">2H", len(SECRET) + 4, 1) + SECRET
    tile = frame.index(b"\xff\x90\0\x0a")
    (length,) = struct.unpack_from(">I", frame, tile + 6)
    length += len(segment) if length else 0
    part = frame[tile : tile + 6] + struct.pack(">I", length) + frame[tile + 10 : tile + 12] + segment
    return frame[:tile] + segment + part + frame[tile + 12 :] + SECRET


def jp2_with_texts(pixels: Stored) -> bytes:
    file = bytes(imagecodecs.jpeg2k_encode(pixels, level=0, reversible=True, codecformat="JP2"))
    end = 12 + int.from_bytes(file[12:16], "big")  # of the signature and the file type box
    return file[:end] + struct.pack(">I", 8 + len(SECRET)) + b"xml " + SECRET + file[end:]


@pytest.mark.parametrize(
    ("name", "encode"),
    [
        ("jpeg-lossless-sv1", jpeg_with_texts),
        ("jpeg-2000-lossless", jpeg_2000_with_texts),
        ("jpeg-2000-lossless", jp2_with_texts),
    ],
)
def test_texts_in_frames_and_after_them_are_removed(
    tmp_path: Path, name: str, encode: Callable[[Stored], bytes]
) -> None:
    write_series(tmp_path / "in", HU, syntax=syntax_named(name).uid, encode=encode)

    assert run(tmp_path / "in", tmp_path / "out").written == 12

    assert SECRET in all_bytes(tmp_path / "in")
    assert SECRET not in all_bytes(tmp_path / "out")
    np.testing.assert_array_equal(load_volume(tmp_path / "out").array, HU)


def add_bytes(dataset: Dataset, _: int) -> Dataset:
    dataset.PixelData += SECRET
    return dataset


def add_elements(dataset: Dataset, _: int) -> Dataset:
    dataset.add_new(0xFFFAFFFA, "SQ", [])
    dataset.add_new(0xFFFCFFFC, "OB", SECRET)
    dataset.add_new(0x7FE11010, "OB", SECRET)
    dataset.add_new(0x00282000, "OB", SECRET)  # ICCProfile, whose description is text
    return dataset


@pytest.mark.parametrize("change", [add_bytes, add_elements])
def test_bytes_that_are_not_pixels_are_left_out(tmp_path: Path, change: Callable[[Dataset, int], Dataset]) -> None:
    for path in write_series(tmp_path / "in", HU, change=change):
        path.write_bytes(path.read_bytes() + b"\0\0" + SECRET)

    assert run(tmp_path / "in", tmp_path / "out").written == 12

    assert SECRET not in all_bytes(tmp_path / "out")
    np.testing.assert_array_equal(load_volume(tmp_path / "out").array, HU)


def test_attributes_of_the_image_stay_whatever_their_vr(tmp_path: Path) -> None:
    def of_another_vr(dataset: Dataset, _: int) -> Dataset:
        for tag, vr, value in ((0x00281052, "LO", "-1024"), (0x00280100, "UL", 16), (0x00280030, "FD", [2.0, 2.5])):
            del dataset[tag]
            dataset.add_new(tag, vr, value)
        return dataset

    write_series(tmp_path / "in", HU, change=of_another_vr)

    assert run(tmp_path / "in", tmp_path / "out").written == 12

    before, after = load_volume(tmp_path / "in"), load_volume(tmp_path / "out")
    np.testing.assert_array_equal(after.array, before.array)
    np.testing.assert_allclose(after.affine, before.affine)
    assert {dataset["RescaleIntercept"].VR for dataset in written(tmp_path / "out")} == {"DS"}


def test_a_copy_that_differs_is_reported_and_not_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_series(tmp_path / "in", HU)

    def spoil(dataset: Dataset, header: SliceHeader) -> str:
        syntax = set_pixels(dataset, header)
        if dataset.InstanceNumber == 3:
            dataset.PixelData = dataset.PixelData[::-1]
        if dataset.InstanceNumber == 4:
            dataset.RescaleSlope = 2
        if dataset.InstanceNumber == 5:
            dataset.PixelData = dataset.PixelData[:-20]
        return syntax

    monkeypatch.setattr("cspine.deidentify.study.set_pixels", spoil)

    summary = run(tmp_path / "in", tmp_path / "out")

    assert summary.written == len(written(tmp_path / "out")) == 9
    assert summary.exclusions == {"images whose copy would not be the same image": 3}
    (warning,) = [text for text in summary.warnings if "first: " in text]
    assert "its copy " in warning
    assert not [path for path in (tmp_path / "out").rglob("*") if ".part" in path.name]


def test_damaged_and_unreadable_pixels_are_not_written(tmp_path: Path) -> None:
    syntax = syntax_named("jpeg-2000-lossless")
    paths = write_series(tmp_path / "in", HU, syntax=syntax.uid, encode=syntax.encode)
    paths[2].write_bytes(paths[2].read_bytes()[:-60])
    dataset = dcmread(paths[3])
    del dataset.PixelData
    dataset.FloatPixelData = bytes(4 * 480)
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(paths[3])

    summary = run(tmp_path / "in", tmp_path / "out")

    assert (summary.written, summary.exclusions) == (10, {"DICOM that cannot be read": 2})


def test_other_images_of_one_uid_are_told_from_copies(tmp_path: Path) -> None:
    def change(dataset: Dataset, k: int) -> Dataset:
        if k in {2, 3, 4}:
            dataset.SOPInstanceUID = UID("1.2.3")
        return dataset

    paths = write_series(tmp_path / "in", HU, change=change)
    (tmp_path / "in" / "copy.dcm").write_bytes(paths[7].read_bytes())

    summary = run(tmp_path / "in", tmp_path / "out")

    assert (summary.written, len(written(tmp_path / "out"))) == (10, 10)
    assert summary.exclusions == {
        "the same SOPInstanceUID as another file": 1,
        "the same SOPInstanceUID as another image": 2,
    }
    assert run(tmp_path / "in", tmp_path / "out").written == 10  # resumed


PATIENTS: dict[str, dict[str, str]] = {
    "plain": {"PatientID": "00123a"},
    "blanks before": {"PatientID": "  00123a"},
    "blanks after": {"PatientID": "00123a   "},
    "null bytes": {"PatientID": "00123a\0\0"},
    "empty issuer": {"PatientID": "00123a", "IssuerOfPatientID": " "},
    "upper case": {"PatientID": "00123A"},
    "issuer": {"PatientID": "00123a", "IssuerOfPatientID": "A"},
    "issuer, blanks": {"PatientID": " 00123a", "IssuerOfPatientID": "A "},
    "other issuer": {"PatientID": "00123a", "IssuerOfPatientID": "B"},
    "no zeros": {"PatientID": "123a"},
    "by name": {"PatientID": " ", "PatientName": "Doe^John"},
    "by name, empty components": {"PatientID": "", "PatientName": "Doe^John^^ "},
    "nobody": {"PatientID": "\0 ", "PatientName": " "},
}
ALIKE = (
    {"plain", "blanks before", "blanks after", "null bytes", "empty issuer"},
    {"upper case"}, {"issuer", "issuer, blanks"}, {"other issuer"}, {"no zeros"},
    {"by name", "by name, empty components"}, {"nobody"},
)  # fmt: skip


def of_patient(values: dict[str, str], study: str) -> Callable[[Dataset, int], Dataset]:
    def change(dataset: Dataset, _: int) -> Dataset:
        dataset.SOPInstanceUID, dataset.StudyInstanceUID = generate_uid(), UID(study)
        for keyword, value in values.items():
            setattr(dataset, keyword, value)
        return dataset

    return change


def test_one_patient_has_one_pseudonym(tmp_path: Path) -> None:
    for number, (name, values) in enumerate(PATIENTS.items()):
        write_series(tmp_path / "in" / name, HU[:1], change=of_patient(values, f"1.2.3.{number}"))

    run(tmp_path / "in", tmp_path / "out")

    patient_of = {dataset.StudyInstanceUID: dataset.PatientID for dataset in written(tmp_path / "out")}
    patients = {name: patient_of[KEY.replace_uid(f"1.2.3.{number}")] for number, name in enumerate(PATIENTS)}
    groups = [{name for name in PATIENTS if patients[name] == patient} for patient in dict.fromkeys(patients.values())]
    assert sorted(map(sorted, groups)) == sorted(map(sorted, ALIKE))
    assert patients["plain"] == KEY.pseudonym("00123a")


def test_images_without_uids_stay_one_series(tmp_path: Path) -> None:
    def without_uids(dataset: Dataset, _: int) -> Dataset:
        del dataset.StudyInstanceUID, dataset.SeriesInstanceUID
        dataset.SOPInstanceUID = UID("")
        dataset.file_meta.MediaStorageSOPInstanceUID = UID("1.2")
        return dataset

    write_series(tmp_path / "in" / "a", HU, change=without_uids)
    write_series(tmp_path / "in" / "b", HU, change=without_uids)

    summary = run(tmp_path / "in", tmp_path / "out")

    assert (summary.written, summary.patients, summary.studies) == (24, 1, 2)
    (first, _) = sorted((tmp_path / "out").glob("2.*"))
    np.testing.assert_array_equal(load_volume(first).array, HU)
