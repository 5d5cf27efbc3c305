"""Enhanced multi-frame CT: frames by their functional groups."""

import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID
from tests.support.codecs import SYNTAXES, Syntax
from tests.support.dicom import make_hu, write_enhanced, write_series

from cspine.core.errors import CspineError, DecodeError, DicomError, SourceError
from cspine.dicom import discover, load_volume, select_series
from cspine.dicom.sources import SourceFile

HU = make_hu((14, 20, 24))
FRAMED = [s for s in SYNTAXES if s.error == 0 and s.name != "big-endian"]


@pytest.mark.parametrize("syntax", FRAMED, ids=lambda syntax: syntax.name)
def test_frames_are_sorted_by_the_positions_of_their_functional_groups(tmp_path: Path, syntax: Syntax) -> None:
    order = np.random.default_rng(0).permutation(len(HU)).tolist()
    write_enhanced(tmp_path / "enhanced", HU, order=order, syntax=syntax.uid, encode=syntax.encode)

    volume = load_volume(tmp_path / "enhanced")

    np.testing.assert_array_equal(volume.array, HU)
    np.testing.assert_allclose(volume.affine @ [1, 1, 1, 1], [-54, -46, 3, 1])
    assert volume.provenance is not None
    assert volume.provenance.repairs == ()
    part = load_volume(tmp_path / "enhanced", rows=(3, 15), slices=(2, 9), step=2)
    np.testing.assert_array_equal(part.array, HU[2:9:2, 3:15:2, ::2])


def test_a_concatenation_of_files_is_one_series(tmp_path: Path) -> None:
    write_enhanced(tmp_path / "1", HU, order=range(8))
    write_enhanced(tmp_path / "2", HU, order=range(8, 14))

    (study,) = discover(tmp_path).studies

    np.testing.assert_array_equal(load_volume(select_series(study).selected).array, HU)


def test_files_with_missing_frames_are_named(tmp_path: Path) -> None:
    syntax = next(s for s in SYNTAXES if s.name == "jpeg-ls")
    path = write_enhanced(tmp_path / "e.dcm", HU, syntax=syntax.uid, encode=syntax.encode)
    dataset = dcmread(path)
    dataset.PixelData = dataset.PixelData[:-400] + b"\xfe\xff\xdd\xe0\0\0\0\0"
    dataset.save_as(path)

    with pytest.raises(CspineError, match=r"^e\.dcm: "):
        load_volume(path)
    data = write_enhanced(tmp_path / "plain.dcm", HU).read_bytes()
    (tmp_path / "plain.dcm").write_bytes(data[:-1000])
    with pytest.raises(DecodeError, match=r"^plain\.dcm: cut off"):
        load_volume(tmp_path / "plain.dcm")


def test_files_with_invalid_functional_groups_are_named(tmp_path: Path) -> None:
    def drop_last_group(dataset: Dataset) -> None:
        dataset.PerFrameFunctionalGroupsSequence = list(dataset.PerFrameFunctionalGroupsSequence)[:-1]

    def shorten_position(dataset: Dataset) -> None:
        dataset.PerFrameFunctionalGroupsSequence[3].PlanePositionSequence[0].ImagePositionPatient = [1, 2]

    with pytest.raises(SourceError, match=r"e\.dcm: describes 13 frames but declares 14"):
        discover(write_enhanced(tmp_path / "a" / "e.dcm", HU, change=drop_last_group))
    with pytest.raises(SourceError, match=r"e\.dcm: its functional groups are not valid"):
        discover(write_enhanced(tmp_path / "b" / "e.dcm", HU, change=shorten_position))


def test_frames_without_positions_are_not_read(tmp_path: Path) -> None:
    def capture(dataset: Dataset) -> None:
        del dataset.PerFrameFunctionalGroupsSequence

    path = write_enhanced(tmp_path / "sc.dcm", HU, change=capture)

    with pytest.raises(DicomError, match="frames of a multi-frame image without a position in space"):
        load_volume(path)


def test_a_multi_frame_file_in_a_zip_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_enhanced(tmp_path / "e.dcm", HU)
    with zipfile.ZipFile(tmp_path / "e.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(path, "e.dcm")
    series = select_series(discover(tmp_path / "e.zip").studies[0]).selected
    reads: list[int | None] = []
    read = SourceFile.read

    def counted(self: SourceFile, limit: int | None = None) -> bytes:
        reads.append(limit)
        return read(self, limit)

    monkeypatch.setattr(SourceFile, "read", counted)

    np.testing.assert_array_equal(load_volume(series).array, HU)
    assert len(reads) == 1


def test_too_many_sequence_items_are_rejected_before_parsing(tmp_path: Path) -> None:
    path = write_enhanced(tmp_path / "e.dcm", HU)
    data = path.read_bytes()
    start, stop = data.index(struct.pack("<HH", 0x5200, 0x9230)), data.index(struct.pack("<HH2s", 0x7FE0, 0x10, b"OW"))
    items = struct.pack("<HHI", 0xFFFE, 0xE000, 0) * 100_000
    path.write_bytes(data[:start] + struct.pack("<HH2sHI", 0x5200, 0x9230, b"SQ", 0, len(items)) + items + data[stop:])

    with pytest.raises(SourceError, match=r"e\.dcm: describes more than its 14 frames"):
        discover(path)


@pytest.mark.parametrize("enhanced", [True, False])
def test_series_of_other_values_than_hounsfield_units_are_not_selected(tmp_path: Path, enhanced: bool) -> None:
    def effective_atomic_number(dataset: Dataset, _: int = 0) -> Any:
        if enhanced:
            groups = dataset.SharedFunctionalGroupsSequence[0]
            groups.PixelValueTransformationSequence[0].RescaleType = "Z_EFF"
        else:
            dataset.RescaleType = "Z_EFF"
        return dataset

    if enhanced:
        write_enhanced(tmp_path / "e.dcm", HU, change=effective_atomic_number)
    else:
        write_series(tmp_path, HU, change=effective_atomic_number)

    with pytest.raises(DicomError, match=r"RescaleType is not HU: its values are not Hounsfield units"):
        load_volume(tmp_path)
    (series,) = discover(tmp_path).studies[0].series
    volume = load_volume(series)  # a series that is passed itself is loaded, with a warning
    assert volume.provenance is not None
    assert "RescaleType is not HU; values taken as Hounsfield units" in volume.provenance.repairs


def test_frames_without_functional_groups_have_no_position_but_the_file_one(tmp_path: Path) -> None:
    def change(dataset: Dataset) -> None:
        del dataset.PerFrameFunctionalGroupsSequence
        dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [-56, -48, 0], [1, 0, 0, 0, 1, 0]
        dataset.PixelSpacing, dataset.SliceThickness, dataset.SpacingBetweenSlices = [2, 2], 3, 3

    write_enhanced(tmp_path / "e.dcm", HU, change=change)

    with pytest.raises(DicomError, match="frames of a multi-frame image without a position in space"):
        load_volume(tmp_path)


@pytest.mark.parametrize("has_empty_group", [True, False])
def test_a_single_frame_may_have_everything_in_its_shared_groups(tmp_path: Path, has_empty_group: bool) -> None:
    for k in range(len(HU)):

        def change(dataset: Dataset, k: int = k) -> None:
            position = Dataset()
            position.ImagePositionPatient = [-56, -48, 3 * k]
            dataset.SharedFunctionalGroupsSequence[0].PlanePositionSequence = [position]
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = UID(f"1.2.3.{k + 1}")
            if has_empty_group:
                dataset.PerFrameFunctionalGroupsSequence = [Dataset()]
            else:
                del dataset.PerFrameFunctionalGroupsSequence

        write_enhanced(tmp_path / f"{k}.dcm", HU[k : k + 1], change=change)

    np.testing.assert_array_equal(load_volume(tmp_path).array, HU)
