"""Headers: the own parser agrees with pydicom, and invalid headers are rejected with one line."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread, dcmwrite
from pydicom.data import get_testdata_files
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from tests.support.dicom import make_hu, write_series

from cspine.core.errors import DicomError, InputError
from cspine.dicom import load_volume
from cspine.dicom.codec.dataset import elements_by_pydicom, looks_like_dicom
from cspine.dicom.codec.elements import MAX_NESTING, TruncatedError, UnsupportedLayoutError, walk_elements
from cspine.dicom.codec.header import _REQUIRED_TAGS, SliceHeader, read_header, suppress_pydicom_warnings
from cspine.dicom.discovery import discover
from cspine.dicom.sources import SourceFile

HU = make_hu((12, 8, 8))
PYDICOM_FILES = sorted({Path(name) for name in get_testdata_files() if Path(name).is_file()})


def source(path: Path) -> SourceFile:
    return SourceFile(path, None, path.name, path.stat().st_size)


def test_the_parser_reads_the_same_elements_as_pydicom() -> None:
    n_compared = 0
    for path in PYDICOM_FILES:
        data = path.read_bytes()
        if not looks_like_dicom(data):
            continue
        try:
            ours = walk_elements(data, _REQUIRED_TAGS, complete=True)
        except (UnsupportedLayoutError, TruncatedError):
            continue
        try:
            with suppress_pydicom_warnings():
                theirs = elements_by_pydicom(source(path), data, _REQUIRED_TAGS, complete=True)
        except DicomError:  # deflated ones are never given to pydicom
            continue
        values = {tag: raw.value.rstrip(b" \0") for tag, raw in theirs.values.items()}
        assert {tag: raw.value.rstrip(b" \0") for tag, raw in ours.values.items() if tag in values} == values, path.name
        assert ours.transfer_syntax_uid == theirs.transfer_syntax_uid, path.name
        n_compared += 1
    assert n_compared > 100


def test_pixel_data_offset_and_length_are_those_of_the_pixels(tmp_path: Path) -> None:
    (path, *_) = write_series(tmp_path, HU)

    header = read_header(source(path))

    assert header.pixel_data_offset is not None
    assert path.read_bytes()[header.pixel_data_offset :] == dcmread(path).PixelData
    assert header.pixel_data_length == 8 * 8 * 2


@pytest.mark.parametrize("explicit", [True, False])
def test_private_sequences_of_undefined_length_are_skipped(tmp_path: Path, explicit: bool) -> None:
    def change(dataset: Dataset, _: int) -> Dataset:
        inner, item = Dataset(), Dataset()
        inner.PatientComments = "inner"
        item.add_new(0x00091001, "SQ", [inner, Dataset()])
        item.Rows = 999  # not the image's
        block = dataset.private_block(0x0009, "cspine test", create=True)
        block.add_new(0x01, "SQ", [item, item])
        for sequence in (dataset[0x00091001], item[0x00091001]):
            sequence.is_undefined_length = True
        for entry in (item, inner):
            entry.is_undefined_length_sequence_item = True
        return dataset

    syntax = "1.2.840.10008.1.2.1" if explicit else "1.2.840.10008.1.2"
    (path, *_) = write_series(tmp_path, HU, syntax=syntax, change=change)

    elements = walk_elements(path.read_bytes(), _REQUIRED_TAGS, complete=True)

    assert elements.pixel_data_length == 8 * 8 * 2
    assert read_header(source(path)).rows == 8


def nest_sequences(depth: int, *, undefined: bool) -> bytes:
    """Return a bare explicit data set whose first sequence is nested `depth` deep."""
    body = b""
    for _ in range(depth):
        if undefined:
            item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF) + body + struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
            end = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
            body = struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF) + item + end
        else:
            item = struct.pack("<HHI", 0xFFFE, 0xE000, len(body)) + body
            body = struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, len(item)) + item
    modality = struct.pack("<HH2sH", 0x0008, 0x0008, b"CS", 8) + b"ORIGINAL"
    pixels = struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, 0)
    return modality + body + struct.pack("<HH2sHH", 0x0028, 0x0010, b"US", 2, 512) + pixels


def test_sequences_up_to_the_maximum_depth_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "deep.dcm"
    path.write_bytes(nest_sequences(MAX_NESTING, undefined=True))

    assert read_header(source(path)).rows == 512


@pytest.mark.parametrize("depth", [MAX_NESTING + 1, 20_000])
def test_sequences_nested_deeper_are_rejected(tmp_path: Path, depth: int) -> None:
    path = tmp_path / "deep.dcm"
    path.write_bytes(nest_sequences(depth, undefined=True))

    with pytest.raises(DicomError, match=r"^deep\.dcm: nests sequences more than 32 deep"):
        read_header(source(path))


def test_sequences_of_declared_length_are_skipped_at_any_depth(tmp_path: Path) -> None:
    path = tmp_path / "deep.dcm"
    path.write_bytes(nest_sequences(3_000, undefined=False))

    assert read_header(source(path)).rows == 512


@settings(max_examples=150, deadline=None)
@given(cut=st.integers(0, 1500))
def test_a_file_truncated_anywhere_is_read_or_rejected(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    folder = tmp_path_factory.getbasetemp() / "cut"
    if not folder.exists():
        write_series(folder, HU)
    data = (folder / "1.dcm").read_bytes()
    path = tmp_path_factory.getbasetemp() / "cut.dcm"
    path.write_bytes(data[:cut])

    try:
        header = read_header(source(path))
    except DicomError as error:
        assert str(error).startswith("cut.dcm: ")
    else:
        assert isinstance(header, SliceHeader)


def test_text_is_decoded_in_the_files_character_set(tmp_path: Path) -> None:
    def change(dataset: Dataset, _: int) -> Dataset:
        dataset.SpecificCharacterSet = "ISO_IR 192"
        dataset.Manufacturer = "Überscan 東京"
        return dataset

    (path, *_) = write_series(tmp_path, HU, change=change)

    assert read_header(source(path)).manufacturer == "Überscan 東京"


def test_invalid_numbers_are_rejected_by_keyword(tmp_path: Path) -> None:
    paths = write_series(tmp_path, HU)
    data = paths[0].read_bytes()
    position = data.index(b"\\2", data.index(struct.pack("<HH2s", 0x0028, 0x0030, b"DS")))
    paths[0].write_bytes(data[:position] + b"\\x" + data[position + 2 :])

    skipped = discover(tmp_path).skipped

    assert [(skip.name, skip.reason) for skip in skipped] == [
        (paths[0].name, "PixelSpacing is not valid; have the file exported again")
    ]


@pytest.mark.parametrize(
    ("tag", "value", "message"),
    [
        ("Rows", 8193, "Rows is 8,193, at most 8,192 are read"),
        ("Columns", 65535, "Columns is 65,535, at most"),
        ("NumberOfFrames", 20_001, "Frames is 20,001, at most"),
    ],
)
def test_sizes_beyond_ct_are_rejected(tmp_path: Path, tag: str, value: int, message: str) -> None:
    def change(dataset: Dataset, _: int) -> Dataset:
        setattr(dataset, tag, value)
        return dataset

    (path, *_) = write_series(tmp_path, HU, change=change)

    with pytest.raises(DicomError, match=rf"^1\.dcm: {message}"):
        read_header(source(path))


def test_pydicoms_test_files_are_read_or_rejected_with_one_line() -> None:
    from cspine.dicom.codec.decode import decode_into
    from cspine.dicom.codec.frames import FrameCache
    from cspine.dicom.codec.pixels import PixelRegion
    from cspine.dicom.discovery import _read

    n_equal = 0
    for path in PYDICOM_FILES:
        with suppress_pydicom_warnings():
            headers = _read(source(path))
        if isinstance(headers, InputError):
            assert str(headers).startswith(f"{path.name}: "), path
            assert "\n" not in str(headers)
            continue
        for header in headers[:2]:
            if not header.rows or not header.columns:
                continue
            out = np.empty((header.rows, header.columns), np.int16)
            try:
                with suppress_pydicom_warnings():
                    decode_into(header, PixelRegion(0, header.rows, header.columns, 1), out, FrameCache())
            except InputError as error:
                assert str(error).startswith(f"{path.name}: "), path
                continue
            n_equal += _is_as_pydicom_has_it(path, header, out)
    assert n_equal >= 50


def _is_as_pydicom_has_it(path: Path, header: SliceHeader, out: np.ndarray) -> bool:
    """Compare with pydicom's pixels where it has a decoder; false where it has none."""
    try:
        with suppress_pydicom_warnings():
            stored = dcmread(path, force=True).pixel_array
    except (RuntimeError, AttributeError):
        return False
    if header.frames > 1:
        stored = stored[header.frame]
    pixels = header.pixel_format
    hu = np.clip(np.rint(stored * pixels.slope + pixels.intercept), -32768, 32767)
    if pixels.padding is not None:
        hu[(stored >= pixels.padding[0]) & (stored <= pixels.padding[1])] = -1024
    np.testing.assert_array_equal(out, hu, err_msg=path.name)
    return True


def test_warnings_are_restored_by_the_last_thread() -> None:
    import logging
    import warnings

    before, level = list(warnings.filters), logging.getLogger("pydicom").level
    first, second = suppress_pydicom_warnings(), suppress_pydicom_warnings()

    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert logging.getLogger("pydicom").level > logging.CRITICAL
    second.__exit__(None, None, None)

    assert logging.getLogger("pydicom").level == level
    assert list(warnings.filters) == before


def raw_value(keyword: str, vr: str, value: bytes) -> Callable[[Dataset, int], Dataset]:
    """Return a change of a slice's data set that stores a value as it is, valid or not."""

    def change(dataset: Dataset, _: int) -> Dataset:
        tag = Tag(keyword)
        dataset._dict[tag] = RawDataElement(tag, vr, len(value), value, 0, False, True)
        return dataset

    return change


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
@pytest.mark.parametrize(
    ("keyword", "vr", "value"),
    [
        ("SliceThickness", "DS", b"3.0 mm"),
        ("GantryDetectorTilt", "DS", b"none"),
        ("InstanceNumber", "IS", b"A1"),
        ("SeriesNumber", "IS", b"3a"),
        ("AcquisitionNumber", "IS", b"1-1 "),
    ],
)
def test_invalid_values_of_what_is_not_needed_are_as_good_as_none(
    tmp_path: Path, keyword: str, vr: str, value: bytes
) -> None:
    write_series(tmp_path, HU, change=raw_value(keyword, vr, value))

    volume = load_volume(tmp_path)

    np.testing.assert_array_equal(volume.array, HU)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("RescaleType", b"Hounsfield Units"),
        ("RescaleType", b"hu"),
        ("Modality", b"ct"),
        ("ImageType", b"original\\axial"),
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR")
def test_codes_are_read_however_they_are_spelled(tmp_path: Path, keyword: str, value: bytes) -> None:
    write_series(tmp_path, HU, change=raw_value(keyword, "LO", value))

    volume = load_volume(tmp_path)

    np.testing.assert_array_equal(volume.array, HU)
    assert volume.provenance is not None
    assert volume.provenance.repairs == ()


def test_another_quantity_is_refused_however_it_is_spelled(tmp_path: Path) -> None:
    write_series(tmp_path, HU, change=raw_value("RescaleType", "LO", b"suv "))

    with pytest.raises(DicomError, match="RescaleType is not HU"):
        load_volume(tmp_path)


@pytest.mark.parametrize(("implicit", "little"), [(True, True), (False, True), (False, False)])
def test_a_data_set_without_meta_information_is_read_in_its_own_byte_order(
    tmp_path: Path, implicit: bool, little: bool
) -> None:
    for path in write_series(tmp_path, HU):
        dataset = dcmread(path)
        if not little:
            dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
        del dataset.file_meta
        dataset.preamble = None
        dcmwrite(path, dataset, implicit_vr=implicit, little_endian=little, force_encoding=True)

    np.testing.assert_array_equal(load_volume(tmp_path).array, HU)


def test_floating_point_pixels_are_named_and_not_taken_for_a_file_that_is_cut_off(tmp_path: Path) -> None:
    def as_float(dataset: Dataset, _: int) -> Dataset:
        dataset.FloatPixelData = np.frombuffer(dataset.PixelData, np.int16).astype(np.float32).tobytes()
        dataset.BitsAllocated = 32
        del dataset.PixelData
        return dataset

    write_series(tmp_path, HU, change=as_float)

    with pytest.raises(InputError, match="has floating-point pixel data, which are not read; export integers"):
        load_volume(tmp_path)
