"""Phantoms compiled in memory equal those that are written as DICOM and compiled from it."""

from pathlib import Path

import highdicom
import numpy as np
import pytest
from scipy import ndimage
from tests.support.views import EmptyLocalizer, StubLocalizer

from cspine.core.anatomy import VERTEBRAE
from cspine.core.files import read_json
from cspine.dicom import load_volume
from cspine.localization.compiler import PARALLEL_PLANES, Compiler
from cspine.phantom import PhantomSettings, PhantomStudy, render_study
from cspine.phantom.scanner.dicom import Identity, draw_write_options, write_slices
from cspine.phantom.settings import random_stream
from cspine.spine.spine_map import SpineMap, Vertebra
from cspine.training.levels.phantom_dataset import straighten, write_phantom_dataset, write_phantom_datasets
from cspine.views.fracture_labels import read_cells
from cspine.views.level_views import LevelViewSettings
from cspine.views.sagittal import SagittalSettings
from cspine.views.settings import CompileSettings

SMALL = PhantomSettings(
    matrix=96, slice_spacing_mm=(2.0, 2.0), prevalence=1.0, truncated_fraction=0.0, tilt_fraction=0.0
)
VIEWS = LevelViewSettings(sagittal=1, coronal=1, axial=1, pixels=64, pixel_mm=1.2)


class TruthLocalizer(StubLocalizer):
    """Returns the true vertebrae of two phantoms of a seed."""

    sha256 = "c" * 64

    def __init__(self, seed: int) -> None:
        self.maps = [self._map(seed, index) for index in range(2)]

    @staticmethod
    def _map(seed: int, index: int) -> tuple[tuple[int, ...], SpineMap]:
        study = render_study(seed, index, SMALL)
        vertebrae = []
        for level in VERTEBRAE:
            frame = np.eye(4)
            frame[:3, :3], frame[:3, 3] = study.truth["axes"][level], study.truth["vertebrae"][level]
            vertebrae.append(
                Vertebra(level, frame, frame[:3, 3], np.array([[-9, -9, -7], [9, 9, 7]]), 1.0, 1.0, 9000.0)
            )
        return study.hu.shape, SpineMap(tuple(vertebrae))

    def __call__(self, volume: highdicom.Volume) -> SpineMap:
        return next(spine for shape, spine in self.maps if shape == volume.spatial_shape)


def test_tilted_scan_is_straightened_as_when_it_is_loaded(tmp_path: Path) -> None:
    settings = SMALL.model_copy(update={"tilt_fraction": 1.0, "jpeg_lossless_fraction": 0.0})
    study = render_study(5, 1, settings)
    write_slices(
        study, Identity(5, 1), tmp_path / "study", draw_write_options(random_stream(5, 1, settings, 1), settings)
    )

    straightened, loaded = straighten(study.hu, study.affine_lps), load_volume(tmp_path / "study")

    assert straightened.spatial_shape == loaded.spatial_shape
    np.testing.assert_allclose(straightened.affine, loaded.affine, atol=1e-3)
    rows = (straightened.array > -1024).any(axis=2)  # at the borders of a slice they lie half outside
    inner = ndimage.minimum_filter1d(rows.astype(int), 5, axis=1, mode="constant").astype(bool)
    assert inner.sum() > 0.9 * len(study.hu) * study.hu.shape[1]
    assert np.abs(straightened.array[inner].astype(int) - loaded.array[inner]).max() <= 1


def test_phantom_dataset_holds_views_labels_and_fracture_points(tmp_path: Path) -> None:
    compiler = Compiler(
        CompileSettings(sagittal=SagittalSettings(count=1, pixels=64), levels=VIEWS), TruthLocalizer(11)
    )

    dataset = write_phantom_dataset(tmp_path / "data", compiler, studies=2, seed=11, settings=SMALL)

    levels = dataset.levels()
    assert len(levels) == 14
    assert dataset.is_phantom
    assert dataset.localizer_sha256 == "c" * 64
    for row in levels.itertuples():
        truth = read_json(tmp_path / "data" / "truth" / f"{row.study_instance_uid}.json")
        fractured = row.level in truth["levels"]
        assert getattr(row, str(row.level)) == fractured
        assert bool(row.fracture_types) == fractured
        assert isinstance(row.cells_path, str) == fractured
        if not fractured:
            continue
        assert read_cells(dataset.folder / str(row.cells_path), VIEWS).sum() > 2
        box = np.asarray(row.box_lps).reshape(4, 4)
        points = np.array(truth["fracture_lps_mm"][row.level])
        in_box = (points - box[:3, 3]) @ box[:3, :3]
        assert np.abs(in_box).max() < 45.0
    before = (tmp_path / "data" / "levels.parquet").read_bytes()
    for folder in ("truth", "records"):  # as a killed process leaves them
        (tmp_path / "data" / folder / ".k2x.part.json").write_text('{"')
    write_phantom_dataset(tmp_path / "data", compiler, studies=2, seed=11, settings=SMALL)
    assert (tmp_path / "data" / "levels.parquet").read_bytes() == before


def test_phantoms_are_rendered_once_for_several_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = CompileSettings(sagittal=SagittalSettings(count=1, pixels=64), levels=VIEWS)
    rendered: list[int] = []

    def render(seed: int, index: int, settings: PhantomSettings) -> PhantomStudy:
        rendered.append(index)
        return render_study(seed, index, settings)

    monkeypatch.setattr("cspine.training.levels.phantom_dataset.render_study", render)
    curved_compiler = Compiler(settings, TruthLocalizer(11))
    write_phantom_dataset(tmp_path / "curved", curved_compiler, studies=1, seed=11, settings=SMALL)
    compilers = {tmp_path / "curved": curved_compiler, tmp_path / "straight": PARALLEL_PLANES}

    curved, parallel = write_phantom_datasets(compilers, studies=2, seed=11, settings=SMALL)

    assert rendered == [0, 0, 1]  # study 0 was compiled for one of them before
    assert set(curved.studies()["study_instance_uid"]) == set(parallel.studies()["study_instance_uid"])
    assert len(curved.levels()) == 14
    assert parallel.levels().empty
    again = write_phantom_dataset(tmp_path / "again", curved_compiler, studies=2, seed=11, settings=SMALL)
    for path in sorted((tmp_path / "again" / "images").rglob("*.jpg")):
        assert path.read_bytes() == (curved.folder / path.relative_to(again.folder)).read_bytes()


def test_scan_without_a_spine_is_recorded_with_its_reason(tmp_path: Path) -> None:
    dataset = write_phantom_dataset(
        tmp_path / "data", Compiler(CompileSettings(), EmptyLocalizer()), studies=1, seed=1, settings=SMALL
    )

    (reason,) = dataset.studies()["reason"]
    assert reason == "no cervical vertebra was found in the scan"
    assert dataset.levels().empty


@pytest.mark.parametrize("shear", [0.0, 0.3, -0.45])
def test_straightening_keeps_positions(shear: float) -> None:
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = 2.0, 1.0, 1.0, 1.0
    affine[1, 0] = 2.0 * shear
    hu = np.full((12, 40, 8), -1000, np.int16)
    hu[6, 20, 4] = 1000
    point = affine @ [6, 20, 4, 1]

    volume = straighten(hu, affine)

    index = volume.inverse_affine @ point
    k, j, i = (round(float(value)) for value in index[:3])
    assert abs(index[1] - j) < 0.51
    assert volume.array[k, j - 1 : j + 2, i].max() > -200
    steps = volume.affine[:3, :3]
    np.testing.assert_allclose(steps.T @ steps, np.diag(np.diag(steps.T @ steps)), atol=1e-9)
