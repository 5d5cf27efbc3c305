"""The choice among the readable series of a study by what they show."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn

import highdicom
import numpy as np
import pytest
from pydicom.dataset import Dataset
from tests.support.dicom import make_hu, write_series
from tests.support.phantom import write_phantom
from tests.support.views import StubLocalizer

from cspine.core.anatomy import VERTEBRAE
from cspine.core.errors import DecodeError, is_memory_error
from cspine.core.typing import Floats, HounsfieldUnits
from cspine.dicom.loading import LoadPlan, LoadPolicy, open_series, read_first
from cspine.dicom.study_collection import open_collection
from cspine.localization.loading import load_localizer
from cspine.localization.series_choice import choose_series
from cspine.pipelines.localize import localize_study
from cspine.spine.boxes import z_extent_lps_mm
from cspine.spine.spine_map import SpineMap, Vertebra

HEIGHT_MM = 10.0
"""C7 lies at z = 0 to 10 mm, C1 at 60 to 70 mm."""

NECK = make_hu((72, 16, 20), (1.0, 3.0, 3.0))
BOX_MM = np.array([[-9.0, -9.0, -5.0], [9.0, 9.0, 5.0]])


@dataclass
class HeightLocalizer(StubLocalizer):
    """Localizes C1 to C7 by height alone, where a volume shows anything; counts its calls."""

    sha256: str = "0" * 64
    volumes: list[highdicom.Volume] = field(default_factory=list)

    def __call__(self, volume: highdicom.Volume) -> SpineMap:
        self.volumes.append(volume)
        if volume.array.max() < 0:
            return SpineMap(())
        low, high = z_extent_lps_mm(volume)
        vertebrae = []
        for number, level in enumerate(VERTEBRAE):
            bottom = HEIGHT_MM * (6 - number)
            fraction = (min(high, bottom + HEIGHT_MM) - max(low, bottom)) / HEIGHT_MM
            frame = np.eye(4)
            frame[2, 3] = bottom + HEIGHT_MM / 2
            if fraction > 0:
                origin: Floats = frame[:3, 3]
                vertebrae.append(Vertebra(level, frame, origin, BOX_MM, min(fraction, 1.0), 1.0, 9000.0))
        return SpineMap(tuple(vertebrae))


def _write(
    folder: Path,
    name: str,
    hu: HounsfieldUnits = NECK,
    *,
    bottom_mm: float = -1.0,
    spacing_mm: float = 1.0,
    kernel: str = "Br40",
    damaged: slice = slice(0),
) -> None:
    """Write a series from a height upwards; some of its slices have lost their pixels."""

    def change(dataset: Dataset, k: int) -> Dataset:
        dataset.Modality, dataset.ConvolutionKernel = "CT", kernel
        if k in range(len(hu))[damaged]:
            dataset.PixelData = dataset.PixelData[:-100]
        return dataset

    write_series(
        folder / name, hu, series=f"1.2.{sum(name.encode())}", spacing=(spacing_mm, 3, 3), change=change,
        origin=(-30.0, -24.0, bottom_mm),
    )  # fmt: skip


def _choose(folder: Path, localizer: HeightLocalizer | None, series_uid: str | None = None) -> LoadPlan:
    return choose_series(open_series(folder, LoadPolicy(series_uid=series_uid)), localizer)


def _folder_of(plan: LoadPlan) -> str:
    return Path(plan.series.headers[0].file.name).parent.name


def test_of_one_readable_series_nothing_is_localized(tmp_path: Path) -> None:
    _write(tmp_path, "neck")
    _write(tmp_path, "scout", NECK[:3])
    localizer, plan = HeightLocalizer(), open_series(tmp_path)

    assert choose_series(plan, localizer) is plan
    assert not localizer.volumes


@pytest.mark.parametrize("elsewhere_mm", [-200.0, 200.0, -50.0, 55.0])
def test_the_neck_is_read_and_not_a_thinner_sharper_series_of_another_part(tmp_path: Path, elsewhere_mm: float) -> None:
    _write(tmp_path, "neck")
    _write(tmp_path, "other", np.repeat(NECK, 2, axis=0), bottom_mm=elsewhere_mm, spacing_mm=0.5, kernel="Bl64")

    assert _folder_of(open_series(tmp_path)) == "other"  # by headers
    plan = _choose(tmp_path, HeightLocalizer())

    assert _folder_of(plan) == "neck"
    assert "shows C1 to C7" in plan.selection.reasons
    assert plan.selection.rejected[0].reason.startswith("shows ")
    assert plan.warnings == ()


def test_headers_decide_between_series_that_show_the_same_and_one_look_is_enough(tmp_path: Path) -> None:
    _write(tmp_path, "soft")
    _write(tmp_path, "bone", kernel="Br64")
    localizer = HeightLocalizer()

    plan = _choose(tmp_path, localizer)

    assert _folder_of(plan) == "bone"
    assert [rejection.reason for rejection in plan.selection.rejected] == ["kernel Br40 is softer"]
    assert len(localizer.volumes) == 1


def test_an_empty_series_in_the_same_place_is_not_read(tmp_path: Path) -> None:
    _write(tmp_path, "neck")
    _write(tmp_path, "black", np.full_like(NECK, -1000), kernel="Br64")

    plan = _choose(tmp_path, HeightLocalizer())

    assert _folder_of(plan) == "neck"
    assert plan.selection.rejected[0].reason == "shows no cervical vertebra"


def test_a_series_of_certain_levels_is_read_before_one_of_uncertain_levels(tmp_path: Path) -> None:
    class DoubtfulWhereSharp(HeightLocalizer):
        def __call__(self, volume: highdicom.Volume) -> SpineMap:
            spine = super().__call__(volume)
            return replace(spine, doubts=("level-uncertain: unlike a neck",)) if len(self.volumes) == 1 else spine

    _write(tmp_path, "neck")
    _write(tmp_path, "other", kernel="Br64")  # shows as many levels, and is localized first

    assert _folder_of(_choose(tmp_path, DoubtfulWhereSharp())) == "neck"


def test_a_neck_is_searched_behind_many_series_of_the_head(tmp_path: Path) -> None:
    for number in range(6):
        _write(tmp_path, f"head{number}", NECK[:12], bottom_mm=60.0 + 30 * number, kernel="Br64")
    _write(tmp_path, "neck")

    assert _folder_of(_choose(tmp_path, HeightLocalizer())) == "neck"


@pytest.mark.parametrize("damaged", [slice(None), slice(21, 22)])  # the choice decodes only every other slice
def test_the_next_series_is_read_where_one_cannot_be_decoded(tmp_path: Path, damaged: slice) -> None:
    _write(tmp_path, "soft")
    _write(tmp_path, "bone", kernel="Br64", damaged=damaged)

    plan, volume = read_first(_choose(tmp_path, HeightLocalizer()), LoadPlan.load)

    assert _folder_of(plan) == "soft"
    assert volume.array.shape == NECK.shape
    assert "cannot be read: " in plan.selection.rejected[0].reason
    (warning,) = plan.warnings
    assert "cannot be read, so that another one was: " in warning
    assert ".dcm" in warning


@pytest.mark.parametrize("use", [choose_series, read_first])
def test_too_little_memory_is_no_reason_to_read_another_series(tmp_path: Path, use: Callable[..., object]) -> None:
    _write(tmp_path, "soft")
    _write(tmp_path, "bone", kernel="Br64")

    def fail(*_: object) -> NoReturn:
        try:
            raise MemoryError
        except MemoryError as error:
            raise DecodeError("1.dcm: cannot be decoded") from error

    with pytest.raises(DecodeError) as raised:
        use(open_series(tmp_path), fail)

    assert is_memory_error(raised.value)


def test_the_error_is_that_of_the_first_series_where_none_can_be_decoded(tmp_path: Path) -> None:
    _write(tmp_path, "soft", damaged=slice(None))
    _write(tmp_path, "bone", kernel="Br64", damaged=slice(None))

    with pytest.raises(DecodeError, match="bone"):
        read_first(_choose(tmp_path, HeightLocalizer()), LoadPlan.load)


def test_levels_that_only_another_series_shows_are_a_warning(tmp_path: Path) -> None:
    _write(tmp_path, "lower", NECK[:42])
    _write(tmp_path, "upper", NECK[:36], bottom_mm=35.0, kernel="Br64")

    plan = _choose(tmp_path, HeightLocalizer())

    assert _folder_of(plan) == "lower"
    (warning,) = plan.warnings
    assert warning.startswith("C1 to C3: shown by another series only")
    assert f"1.2.{sum(b'upper')}" in warning


def test_a_thick_series_is_not_read_because_it_shows_more(tmp_path: Path) -> None:
    _write(tmp_path, "thin", NECK[:42])
    _write(tmp_path, "thick", NECK[::5], spacing_mm=5.0, kernel="Br64")
    localizer = HeightLocalizer()

    assert _folder_of(_choose(tmp_path, localizer)) == "thin"
    assert len(localizer.volumes) == 2
    limited = open_series(tmp_path, LoadPolicy(max_slice_spacing_mm=3.0))
    assert _folder_of(choose_series(limited, localizer)) == "thin"
    assert len(localizer.volumes) == 2  # the thick one is none to choose


def test_without_a_localizer_headers_decide(tmp_path: Path) -> None:
    _write(tmp_path, "neck")
    _write(tmp_path, "chest", bottom_mm=-200.0, kernel="Bl64")

    assert _folder_of(_choose(tmp_path, None)) == "chest"


def test_a_requested_series_is_read_whatever_it_shows(tmp_path: Path) -> None:
    _write(tmp_path, "neck")
    _write(tmp_path, "chest", bottom_mm=-200.0)

    plan = _choose(tmp_path, HeightLocalizer(), f"1.2.{sum(b'chest')}")

    assert _folder_of(plan) == "chest"
    assert plan.selection.reasons[0] == "requested by its UID"


def test_wide_scans_are_cropped_to_the_middle_of_the_body_to_choose(tmp_path: Path) -> None:
    wide = make_hu((72, 60, 140), (1.0, 3.0, 3.0))
    for name, kernel in (("soft", "Br40"), ("bone", "Br64")):
        _write(tmp_path, name, wide, kernel=kernel)
    localizer = HeightLocalizer()

    _choose(tmp_path, localizer)

    (volume,) = localizer.volumes
    assert volume.spatial_shape[2] * 3.0 == pytest.approx(132.0, abs=6.0)
    assert int(volume.array.max()) == int(wide.max())


def test_the_network_finds_the_neck_beside_a_thinner_series(tmp_path: Path) -> None:
    def as_ct(dataset: Dataset) -> None:
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = "1.2", "1.2.1", "1.2.3"
        dataset.PatientID = "somebody"

    def beside(dataset: Dataset, _: int) -> Dataset:
        dataset.FrameOfReferenceUID, dataset.ConvolutionKernel = "1.2.3", "Bl64"
        return dataset

    write_phantom(tmp_path / "neck", as_ct)
    thinner = make_hu((60, 48, 48), (0.4, 0.6, 0.6))
    write_series(tmp_path / "other", thinner, spacing=(0.4, 0.6, 0.6), study="1.2", series="1.2.2", change=beside)
    assert open_series(tmp_path).series.series_instance_uid == "1.2.2"

    (source,) = open_collection(tmp_path).studies
    spine = localize_study(source, load_localizer()).spine

    assert spine.series_instance_uid == "1.2.1"
    assert spine.not_assessable is None
    assert any(reason.startswith("shows C") for reason in spine.series_reasons)
