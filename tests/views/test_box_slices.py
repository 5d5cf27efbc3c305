"""The challenge's bounding boxes lie on the slices that they name, or are refused."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydicom import Dataset
from tests.support.dicom import make_hu, write_series

from cspine.core.columns import BOX_COLUMNS
from cspine.core.errors import LabelError
from cspine.dicom import load_volume, open_series
from cspine.views.fracture_labels import UNSPECIFIED_LEVEL, BoxLabelSource, FractureLabeling

HU = make_hu((14, 20, 24))


def label(folder: Path, *boxes: tuple[float, ...]) -> FractureLabeling:
    table = pd.DataFrame(boxes, columns=list(BOX_COLUMNS))
    plan = open_series(folder)
    return BoxLabelSource.of("1.2.3", table)(plan.series, load_volume(folder, max_gap_mm=9.0))


def box(number: int, x: float = 4.5, y: float = 6.0, width: float = 3.0, height: float = 2.0) -> tuple[float, ...]:
    values = {"x": x, "y": y, "width": width, "height": height, "slice_number": number}
    return tuple(values[column] for column in BOX_COLUMNS)


def renumber(folder: Path, number: int | None, names: list[int] | None = None) -> None:
    """Write a series whose InstanceNumbers are `number` minus those of its files; None removes them."""

    def change(dataset: Dataset, _: int) -> Dataset:
        if number is None:
            del dataset.InstanceNumber
        else:
            dataset.InstanceNumber = number - int(dataset.InstanceNumber)
        return dataset

    write_series(folder, HU, change=change)
    for old, new in enumerate(names or (), 1):
        (folder / f"{old}.dcm").rename(folder / f"{new}")


def test_boxes_lie_on_the_slice_with_their_instance_number(tmp_path: Path) -> None:
    write_series(tmp_path, HU, upward=False)

    labeling = label(tmp_path, box(3))

    expected = np.zeros(HU.shape, np.uint8)
    expected[len(HU) - 3, 6:8, 4:8] = UNSPECIFIED_LEVEL
    np.testing.assert_array_equal(labeling.labels, expected)
    assert labeling.warnings == ()


@pytest.mark.parametrize("number", [1000, None])
def test_boxes_that_name_the_files_are_laid_there_and_it_is_said(tmp_path: Path, number: int | None) -> None:
    renumber(tmp_path, number)

    labeling = label(tmp_path, box(3))

    assert np.unique(np.nonzero(labeling.labels)[0]).tolist() == [2]
    assert labeling.warnings == ("bounding boxes: slice_number is the name of the file, not InstanceNumber",)


def test_boxes_that_fit_files_and_instance_numbers_differently_are_refused(tmp_path: Path) -> None:
    renumber(tmp_path, len(HU) + 1)

    with pytest.raises(
        LabelError, match=r"boxes of study 1\.2\.3: slice 3 is another by InstanceNumber than by the name"
    ):
        label(tmp_path, box(3))


@pytest.mark.parametrize("number", [1000, None])
def test_boxes_that_fit_no_slice_are_refused(tmp_path: Path, number: int | None) -> None:
    renumber(tmp_path, number, [n + 500 for n in range(1, len(HU) + 1)])

    with pytest.raises(
        LabelError, match=r"bounding boxes of study 1\.2\.3: .*; check that slice_number is the Instance"
    ):
        label(tmp_path, box(3), box(4))


def test_a_few_boxes_beyond_the_slices_are_refused_too(tmp_path: Path) -> None:
    write_series(tmp_path, HU)

    with pytest.raises(
        LabelError, match=r"1 of 2 boxes name slices that it does not have \(first: 15, where it has 1 to"
    ):
        label(tmp_path, box(14), box(15))


def test_the_box_on_a_slice_that_was_lost_is_left_out_and_the_others_keep_their_place(tmp_path: Path) -> None:
    paths = write_series(tmp_path, HU)
    paths[4].write_bytes(b"")

    labeling = label(tmp_path, box(4), box(5), box(6))

    assert labeling.labels.shape == HU.shape  # the gap is bridged
    assert np.unique(np.nonzero(labeling.labels)[0]).tolist() == [3, 5]
    assert labeling.warnings == ("bounding boxes: 1 of 3 lie on slices that are not there or not read (first: 5)",)


def test_boxes_follow_the_slices_of_a_tilted_stack(tmp_path: Path) -> None:
    write_series(tmp_path, HU, shear_mm=1.0)

    labeling = label(tmp_path, box(3))

    volume = load_volume(tmp_path)
    k, j, i = np.nonzero(labeling.labels)
    corner = volume.affine @ [k.min(), j.min(), i.min(), 1.0]
    np.testing.assert_allclose(corner[:3], [-56.0 + 4 * 2.0, -48.0 + 2 * 1.0 + 6 * 2.0, 2 * 3.0], atol=1.0)
    assert len(k) == 2 * 4


def test_a_box_outside_of_the_image_is_refused(tmp_path: Path) -> None:
    write_series(tmp_path, HU)

    with pytest.raises(LabelError, match=r"the box on slice 3 lies outside of the image; check its x and y"):
        label(tmp_path, box(3, x=300.0))


def test_numbers_that_two_slices_have_name_neither(tmp_path: Path) -> None:
    def change(dataset: Dataset, k: int) -> Dataset:
        dataset.InstanceNumber = k // 2 + 1
        return dataset

    for path in write_series(tmp_path, HU, change=change):
        path.rename(path.with_name(f"IM{path.name}"))

    with pytest.raises(LabelError, match="check that slice_number is the InstanceNumber"):
        label(tmp_path, box(3))
