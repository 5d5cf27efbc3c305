"""Virtual fractures compiled in memory: truth, jittered frames and random acquisitions."""

from pathlib import Path

import highdicom
import numpy as np
import pytest
from tests.support import intact
from tests.support.views import StubLocalizer

from cspine.core.files import read_json
from cspine.insertion.settings import InsertionSettings
from cspine.localization.compiler import Compiler
from cspine.spine.spine_map import SpineMap
from cspine.training.levels import virtual_dataset
from cspine.training.levels.acquisition import Acquisition
from cspine.training.levels.virtual_dataset import (
    JitteredLocalizer,
    VirtualSource,
    VirtualStudies,
    write_virtual_dataset,
)
from cspine.views.level_views import LevelViewSettings
from cspine.views.sagittal import SagittalSettings
from cspine.views.settings import CompileSettings

AS_IT_IS = Acquisition(1, 0, 0.0, 0.0, 0.0, 1.0, 1.0)


class KnownLocalizer(StubLocalizer):
    """Returns the vertebrae of the intact phantom."""

    def __call__(self, volume: highdicom.Volume) -> SpineMap:  # noqa: ARG002 - it is the phantom
        return intact.spine_map()


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> Compiler:
    monkeypatch.setattr(virtual_dataset, "load_volume", lambda path: intact.volume())  # noqa: ARG005
    views = LevelViewSettings(sagittal=1, coronal=1, axial=1, pixels=64, pixel_mm=1.2)
    return Compiler(CompileSettings(sagittal=SagittalSettings(count=1), levels=views), KnownLocalizer())


def test_fractures_shams_and_intact_vertebrae_are_compiled_once(tmp_path: Path, compiler: Compiler) -> None:
    settings = InsertionSettings(level_mix={"C5": 1.0}, type_mix={"lamina": 1.0}, fracture_width_mm=(1.5, 2.0))
    arguments = [VirtualSource("a", tmp_path / "a")], VirtualStudies(1, 3, settings)

    dataset = write_virtual_dataset(tmp_path / "data", compiler, *arguments)
    again = write_virtual_dataset(tmp_path / "data", compiler, *arguments)

    levels = dataset.levels()
    assert levels.equals(again.levels())
    assert not dataset.is_phantom
    truths = [read_json(path) for path in (tmp_path / "data" / "truth").glob("*.json")]
    assert sorted(truth["kind"] for truth in truths) == ["fracture", "intact", "sham"]
    (fractured,) = (truth["study_instance_uid"] for truth in truths if truth["kind"] == "fracture")
    rows = levels[levels["cells_path"].notna()]
    assert [(row["study_instance_uid"], row["level"]) for _, row in rows.iterrows()] == [(fractured, "C5")]
    assert rows["fracture_types"].tolist() == ["lamina"]
    assert levels["patient"].nunique() == 1
    assert levels.groupby("study_instance_uid")["C5"].max().sum() == 1


def test_vertebrae_whose_fracture_nobody_sees_are_left_out(tmp_path: Path, compiler: Compiler) -> None:
    settings = InsertionSettings(level_mix={"C5": 1.0}, type_mix={"lamina": 1.0}, vertebrae_per_study={1: 1.0})
    arguments = compiler, [VirtualSource("a", tmp_path / "a")]

    dataset = write_virtual_dataset(
        tmp_path / "data", *arguments, VirtualStudies(1, 3, settings, min_visibility=0.9999)
    )

    truths = [read_json(path) for path in (tmp_path / "data" / "truth").glob("*.json")]
    (fractured,) = (truth for truth in truths if truth["kind"] == "fracture")
    assert [each["level"] for each in fractured["left_out"]] == ["C5"]
    assert not fractured["levels"]
    assert not fractured["fractures"]
    levels = dataset.levels()
    shown = set(levels[levels["study_instance_uid"] == fractured["study_instance_uid"]]["level"])
    assert shown == {"C1", "C2", "C3", "C4", "C6", "C7"}
    assert len(levels) == 6 + 2 * 7, "shams and the intact scan keep it"
    assert not levels["patient_overall"].any()


def test_frames_are_jittered_reproducibly_by_some_millimeters() -> None:
    spine, localizer = intact.spine_map(), StubLocalizer()

    maps = [JitteredLocalizer(spine, "0", localizer.identity, (seed,))(intact.volume()) for seed in (1, 1, 2)]

    origins = [np.array([vertebra.frame_lps[:3, 3] for vertebra in each.vertebrae]) for each in maps]
    np.testing.assert_array_equal(origins[0], origins[1])
    exact = np.array([vertebra.frame_lps[:3, 3] for vertebra in spine.vertebrae])
    distance = np.linalg.norm(np.concatenate([origins[0], origins[2]]) - np.concatenate([exact, exact]), axis=1)
    assert 0.5 < np.median(distance) < 4
    assert distance.max() < 8


def test_acquisitions_change_what_they_state_and_nothing_else() -> None:
    volume, rng = intact.volume(), np.random.default_rng(0)
    hu = volume.array.astype(float)

    def apply(**changes: float) -> highdicom.Volume:
        return Acquisition(**{**vars(AS_IT_IS), **changes}).apply(volume, rng)

    np.testing.assert_array_equal(apply().array, hu)
    noisy = apply(noise_hu=20.0).array - hu
    assert 17 < noisy[hu > -900].std() < 21
    np.testing.assert_allclose(apply(scale=1.1).array, np.where(hu > 0, 1.1 * hu, hu), atol=0.5)
    assert apply(blur_mm=1.0).array.std() < hu.std() < apply(edge_gain=1.0).array.std()
    averaged = apply(averaged_slices=2, first_slice=1)
    np.testing.assert_allclose(averaged.array[0], (hu[1] + hu[2]) / 2, atol=0.51)
    middle = volume.affine @ [1.5, 0, 0, 1]
    np.testing.assert_allclose(averaged.affine[:3, 3], middle[:3])
    assert averaged.spacing[0] == pytest.approx(2 * volume.spacing[0])


def test_a_part_of_a_scan_is_averaged_as_the_whole_is() -> None:
    acquisition, volume = Acquisition(**{**vars(AS_IT_IS), "averaged_slices": 3, "first_slice": 1}), intact.volume()
    affine = volume.affine.copy()
    affine[:3, 3] += 5 * affine[:3, 0]
    part = highdicom.Volume(volume.array[5:14], affine, "PATIENT")

    whole, seen = (
        each.apply(hu, np.random.default_rng(0)) for each, hu in ((acquisition, volume), (acquisition.of_part(5), part))
    )

    np.testing.assert_array_equal(seen.array, whole.array[2:4])
    np.testing.assert_allclose(seen.affine[:3, 3], (whole.affine @ [2, 0, 0, 1])[:3])


def test_slices_are_averaged_to_3_mm_at_most() -> None:
    rng = np.random.default_rng(1)

    thick = [Acquisition.draw(1.5, rng).averaged_slices for _ in range(60)]

    assert set(thick) == {1, 2}
    assert {Acquisition.draw(4.0, rng).averaged_slices for _ in range(5)} == {1}
