"""One series UID with several acquisitions or reconstructions: each is read slice by slice, or the conflict is told."""

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from tests.support.dicom import make_hu, write_enhanced, write_series
from tests.support.dicom_mix import HU, OTHERS, Change, series_of, stacks_of, tags, write_mixed

from cspine.core.errors import GeometryError
from cspine.dicom import discover, load_volume

BOTH = {
    "kernel": (tags(ConvolutionKernel="Br40"), tags(ConvolutionKernel="Br64")),
    "kernel-of-two-values": (tags(ConvolutionKernel=["Br40", "3"]), tags(ConvolutionKernel=["Br40", "2"])),
    "kernel-lost-from-one": (tags(ConvolutionKernel="Br40"), tags()),
    "original-and-derived": (tags(ImageType=["ORIGINAL", "PRIMARY"]), tags(ImageType=["DERIVED", "SECONDARY"])),
    "two-energies": (
        tags(ImageType=["DERIVED", "PRIMARY", "AXIAL", "M_40KEV"]),
        tags(ImageType=["DERIVED", "PRIMARY", "AXIAL", "M_70KEV"]),
    ),
    "kvp": (tags(KVP="80"), tags(KVP="140")),
    "temporal-position": (tags(TemporalPositionIdentifier=1), tags(TemporalPositionIdentifier=2)),
    "cardiac-phase": (tags(NominalPercentageOfCardiacPhase=30), tags(NominalPercentageOfCardiacPhase=70)),
    "thickness": (tags(SliceThickness="1"), tags(SliceThickness="3")),
    "description": (tags(SeriesDescription="bone"), tags(SeriesDescription="soft")),
    "series-number": (tags(SeriesNumber=3), tags(SeriesNumber=4)),
    "acquisition-number": (tags(AcquisitionNumber=1), tags(AcquisitionNumber=2)),
    "filter": (tags(FilterType="A"), tags(FilterType="B")),
    "diameter": (tags(ReconstructionDiameter="200"), tags(ReconstructionDiameter="300")),
    "table-speed": (tags(TableSpeed=20.0), tags(TableSpeed=40.0)),
    "birth-date": (tags(PatientBirthDate="19700101"), tags(PatientBirthDate="19800101")),
    "constant-time": (tags(ContentTime="120000"), tags(ContentTime="120500")),
    "time-of-each-slice": (
        tags(AcquisitionTime=lambda k: f"1200{k:02d}"),
        tags(AcquisitionTime=lambda k: f"1203{59 - k:02d}"),
    ),
    "instance-number": (tags(InstanceNumber=lambda k: k + 1), tags(InstanceNumber=lambda k: k + 13)),
}


def _private(value: str) -> Change:
    def change(dataset: Dataset, k: int) -> Dataset:
        block = dataset.private_block(0x0043, "GEMS_PARM_01", create=True)
        block.add_new(0x10, "LO", value)
        block.add_new(0x11, "DS", f"{k / 2}")  # differs in every slice
        return dataset

    return change


@pytest.mark.parametrize("changes", BOTH.values(), ids=BOTH)
def test_two_stacks_under_one_series_uid_are_read_apart(tmp_path: Path, changes: tuple[Change, Change]) -> None:
    write_mixed(tmp_path, *changes)

    assert stacks_of(tmp_path) == [0, 1]


def test_reconstructions_that_differ_in_a_private_element_only_are_read_apart_and_named(tmp_path: Path) -> None:
    write_mixed(tmp_path, _private("HD"), _private("STD"))

    assert stacks_of(tmp_path) == [0, 1]
    (sentence,) = series_of(tmp_path)[0].warnings
    assert sentence == (
        "its series holds 2 stacks that differ in private element (0043,1010); they are kept apart, and this one has "
        "12 slices"
    )


def test_three_phases_and_two_attributes_in_turn(tmp_path: Path) -> None:
    times = [tags(ContentTime=lambda k, start=start: f"12{start:02d}{k:02d}") for start in (0, 4, 8)]
    write_mixed(tmp_path / "phases", *times)
    quarters = [tags(TriggerTime=f"{phase}", TableSpeed=speed) for phase in (300, 700) for speed in (20.0, 40.0)]
    write_mixed(tmp_path / "quarters", *quarters)

    assert stacks_of(tmp_path / "phases") == [0, 1, 2]
    assert stacks_of(tmp_path / "quarters") == [0, 1, 2, 3]


def test_slices_at_one_place_that_nothing_tells_apart_are_a_conflict(tmp_path: Path) -> None:
    write_mixed(tmp_path / "all", tags(), tags(SOPInstanceUID=lambda _: generate_uid()))
    write_series(tmp_path / "one", HU)
    (again,) = write_series(tmp_path / "again", OTHERS[0], change=lambda dataset, k: dataset if k == 5 else None)
    again.rename(tmp_path / "one" / "again.dcm")

    for folder, places in (("all", "12 places"), ("one", "1 place")):
        with pytest.raises(GeometryError, match=f"lie at one place with different pixels, as at {places} of their ser"):
            load_volume(tmp_path / folder)


def test_one_pixel_makes_a_conflict(tmp_path: Path) -> None:
    write_series(tmp_path, HU)
    other = HU.copy()
    other[5, 3, 4] += 1
    write_series(tmp_path / "b", other, change=lambda dataset, k: dataset if k == 5 else None)

    with pytest.raises(GeometryError, match="different pixels"):
        load_volume(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        tags(AcquisitionNumber=lambda k: 1 + k % 2),
        tags(AcquisitionNumber=lambda k: 1 + k // 3),
        tags(ConvolutionKernel=lambda k: ["Br59", "3"] if k % 2 else "Br59"),
        tags(ConvolutionKernel=lambda k: "Br59" if k % 2 else None),
        tags(AcquisitionTime=lambda k: f"1200{k:02d}", ContentTime=lambda k: f"1300{k:02d}"),
        tags(TemporalPositionIdentifier=lambda k: k + 1),
        tags(SliceThickness=lambda k: "1" if k < 6 else "1.25"),
        tags(FrameOfReferenceUID=lambda k: "1.2.3" if k % 2 else None),
    ],
    ids=["odd-even", "acquisitions-in-turn", "kernel-in-part", "kernel-lost", "times", "counted", "thickness", "frame"],
)
def test_attributes_that_differ_between_the_slices_of_one_stack_do_not_divide_it(
    tmp_path: Path, change: Change
) -> None:
    write_series(tmp_path, HU, change=change)

    (series,) = series_of(tmp_path)
    assert series.warnings == ()
    np.testing.assert_array_equal(load_volume(tmp_path).array, HU)


def test_slices_of_two_kernels_in_turn_are_kept_apart_and_said(tmp_path: Path) -> None:
    write_series(tmp_path, make_hu((24, 10, 14)), change=tags(ConvolutionKernel=lambda k: "Br40" if k % 2 else "Br64"))

    for series in series_of(tmp_path):
        assert len(series.headers) == 12
        assert series.warnings == (
            "its series holds 2 stacks that differ in ConvolutionKernel; they are kept apart, and this one has 12 "
            "slices",
        )


def test_stacks_between_each_others_slices_are_read_apart_or_refused(tmp_path: Path) -> None:
    for folder, speeds in (("told", (20.0, 40.0)), ("untold", (20.0, 20.0))):
        for number, (hu, speed) in enumerate(zip((HU, OTHERS[0]), speeds, strict=True)):
            paths = write_series(tmp_path / "one", hu, origin=(-56, -48, 0.3 * number), change=tags(TableSpeed=speed))
            for path in paths:
                (tmp_path / folder).mkdir(exist_ok=True)
                path.rename(tmp_path / folder / f"{int(path.stem) + 100 * number}.dcm")

    assert stacks_of(tmp_path / "told") == [0, 1]
    with pytest.raises(GeometryError, match=r"gaps of their series alternate between 0\.30 and 2\.70 mm"):
        load_volume(tmp_path / "untold")


@pytest.mark.parametrize(("spacing_mm", "decimals"), [(0.35, 1), (0.25, 1), (1.5, 0)])
def test_gaps_that_alternate_by_rounding_are_those_of_one_stack(
    tmp_path: Path, spacing_mm: float, decimals: int
) -> None:
    at = tags(ImagePositionPatient=lambda k: [0, 0, f"{-123.456 + k * spacing_mm:.{decimals}f}"])
    write_series(tmp_path, make_hu((40, 10, 14)), change=at)

    assert len(load_volume(tmp_path).array) > 30


def test_two_stacks_at_round_positions_are_refused(tmp_path: Path) -> None:
    for number, hu in enumerate((HU, OTHERS[0])):
        for path in write_series(tmp_path / "one", hu, spacing=(2.5, 2, 2), origin=(0, 0, 0.5 * number)):
            path.rename(tmp_path / f"{int(path.stem) + 100 * number}.dcm")

    with pytest.raises(GeometryError, match=r"gaps of their series alternate between 0\.50 and 2\.00 mm"):
        load_volume(tmp_path)


def test_a_second_acquisition_that_overlaps_the_end_of_the_first_is_cut_there(tmp_path: Path) -> None:
    write_series(tmp_path / "a", HU[:8], change=tags(AcquisitionNumber=1))
    second = np.asarray(HU[6:] + 1, dtype=np.int16)
    write_series(tmp_path / "b", second, origin=(-56, -48, 18.0), change=tags(AcquisitionNumber=2))

    series, overlap = series_of(tmp_path)

    np.testing.assert_array_equal(load_volume(series).array, [*HU[:8], *second[2:]])
    assert (len(series.headers), len(overlap.headers)) == (12, 2)


def test_a_part_of_another_size_between_the_slices_is_named_with_the_gap(tmp_path: Path) -> None:
    write_series(
        tmp_path, make_hu((24, 10, 14)), change=tags(PixelSpacing=lambda k: [2.0, 2.1] if k == 7 else [2.0, 2.0])
    )

    with pytest.raises(GeometryError, match=r"6\.0 mm gap.*holds other slices between these, of another PixelSpacing"):
        load_volume(discover(tmp_path).studies[0].series[0])


def _frame_change(keyword: str, macro: str, values: tuple[object, object]) -> object:
    def change(dataset: Dataset) -> None:
        for number, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
            group.PlanePositionSequence[0].ImagePositionPatient = [-56.0, -48.0, 3.0 * (number % 12)]
            item = Dataset()
            setattr(item, keyword, values[number // 12])
            setattr(group, macro, [item])

    return change


@pytest.mark.parametrize(
    ("keyword", "macro", "values"),
    [
        ("TemporalPositionIndex", "FrameContentSequence", (1, 2)),
        ("DimensionIndexValues", "FrameContentSequence", ([1, 1], [1, 2])),
        ("FrameAcquisitionDateTime", "FrameContentSequence", ("20240101120000", "20240101120500")),
        ("KVP", "CTXRayDetailsSequence", (80.0, 140.0)),
        ("ConvolutionKernel", "CTReconstructionSequence", ("Br40", "Br64")),
        ("ConvolutionKernel", "UnassignedPerFrameConvertedAttributesSequence", ("Br40", "Br64")),
        ("FrameType", "CTImageFrameTypeSequence", (["ORIGINAL", "PRIMARY"], ["DERIVED", "PRIMARY"])),
    ],
    ids=["phase", "dimension", "time", "kvp", "kernel", "converted", "type"],
)
def test_frames_of_two_stacks_in_one_file_are_read_apart(
    tmp_path: Path, keyword: str, macro: str, values: tuple[object, object]
) -> None:
    change = _frame_change(keyword, macro, values)
    write_enhanced(tmp_path / "1.dcm", np.concatenate([HU, OTHERS[0]]), change=change)  # type: ignore[arg-type]

    assert stacks_of(tmp_path) == [0, 1]
