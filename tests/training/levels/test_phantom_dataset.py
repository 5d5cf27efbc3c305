"""Phantoms that go straight to compiled data are what they would be by way of DICOM."""

from pathlib import Path

import highdicom
import numpy as np
import pytest
from scipy import ndimage

from cspine.core.anatomy import VERTEBRAE
from cspine.core.files import read_json
from cspine.dicom import load_volume
from cspine.localization.compiler import STRAIGHT, Compiler
from cspine.phantom import PhantomSettings, PhantomStudy, render_study
from cspine.phantom.scanner.dicom import Identity, draw_writing, write_slices
from cspine.phantom.settings import stream
from cspine.spine.spine_map import SpineMap, Vertebra
from cspine.training.levels.phantom_dataset import straight, write_phantom_dataset, write_phantom_datasets
from cspine.views.fracture_labels import read_cells
from cspine.views.level_views import LevelViewSettings
from cspine.views.sagittal import SagittalSettings
from cspine.views.settings import CompileSettings

SMALL = PhantomSettings(matrix=96, slice_spacing_mm=(2.0, 2.0), prevalence=1.0, shortened=0.0, tilted=0.0)
VIEWS = LevelViewSettings(sagittal=1, coronal=1, axial=1, pixels=64, pixel_mm=1.2)


class Known:
    """Finds vertebrae where the phantom put them."""

    sha256 = "k" * 64

    def __init__(self, seed: int) -> None:
        self.maps = [self._map(seed, index) for index in range(2)]

    @staticmethod
    def _map(seed: int, index: int) -> tuple[tuple[int, ...], SpineMap]:
        study = render_study(seed, index, SMALL)
        found = []
        for level in VERTEBRAE:
            frame = np.eye(4)
            frame[:3, :3], frame[:3, 3] = study.truth["axes"][level], study.truth["vertebrae"][level]
            found.append(Vertebra(level, frame, frame[:3, 3], np.array([[-9, -9, -7], [9, 9, 7]]), 1.0, 1.0, 9000.0))
        return study.hu.shape, SpineMap(tuple(found))

    def __call__(self, volume: highdicom.Volume) -> SpineMap:
        return next(spine for shape, spine in self.maps if shape == volume.spatial_shape)


def test_a_tilted_scan_is_made_straight_as_when_it_is_read(tmp_path: Path) -> None:
    settings = SMALL.model_copy(update={"tilted": 1.0, "jpeg_lossless": 0.0})
    study = render_study(5, 1, settings)
    write_slices(study, Identity(5, 1), tmp_path / "study", draw_writing(stream(5, 1, settings, 1), settings))

    found, read = straight(study.hu, study.affine_lps), load_volume(tmp_path / "study")

    assert found.spatial_shape == read.spatial_shape
    np.testing.assert_allclose(found.affine, read.affine, atol=1e-3)
    rows = (found.array > -1024).any(axis=2)  # of each slice; at the rims they are half outside
    inner = ndimage.minimum_filter1d(rows.astype(int), 5, axis=1, mode="constant").astype(bool)
    assert inner.sum() > 0.9 * len(study.hu) * study.hu.shape[1]
    assert np.abs(found.array[inner].astype(int) - read.array[inner]).max() <= 1


def test_a_store_of_phantoms_holds_views_labels_and_where_it_is_broken(tmp_path: Path) -> None:
    compiler = Compiler(CompileSettings(sagittal=SagittalSettings(count=1, pixels=64), levels=VIEWS), Known(11))

    store = write_phantom_dataset(tmp_path / "data", compiler, studies=2, seed=11, settings=SMALL)

    levels = store.levels()
    assert len(levels) == 14
    assert store.is_phantom
    assert store.localizer_sha256 == "k" * 64
    for row in levels.itertuples():
        truth = read_json(tmp_path / "data" / "truth" / f"{row.study_instance_uid}.json")
        broken = row.level in truth["levels"]
        assert getattr(row, str(row.level)) == broken
        assert bool(row.fracture_types) == broken
        assert isinstance(row.evidence_path, str) == broken
        if not broken:
            continue
        assert read_cells(store.folder / str(row.evidence_path), VIEWS).sum() > 2
        box = np.asarray(row.box_lps).reshape(4, 4)
        places = np.array(truth["broken_lps_mm"][row.level])
        own = (places - box[:3, 3]) @ box[:3, :3]
        assert np.abs(own).max() < 45.0  # within reach of the vertebra's box
    before = (tmp_path / "data" / "levels.parquet").read_bytes()
    for folder in ("truth", "records"):  # left there by a process that was killed
        (tmp_path / "data" / folder / ".k2x.part.json").write_text('{"')
    write_phantom_dataset(tmp_path / "data", compiler, studies=2, seed=11, settings=SMALL)
    assert (tmp_path / "data" / "levels.parquet").read_bytes() == before


def test_one_drawing_is_compiled_in_several_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = CompileSettings(sagittal=SagittalSettings(count=1, pixels=64), levels=VIEWS)
    drawn: list[int] = []

    def render(seed: int, index: int, settings: PhantomSettings) -> PhantomStudy:
        drawn.append(index)
        return render_study(seed, index, settings)

    monkeypatch.setattr("cspine.training.levels.phantom_dataset.render_study", render)
    known = Compiler(settings, Known(11))
    write_phantom_dataset(tmp_path / "curved", known, studies=1, seed=11, settings=SMALL)
    ways = {tmp_path / "curved": known, tmp_path / "straight": STRAIGHT}

    curved, plain = write_phantom_datasets(ways, studies=2, seed=11, settings=SMALL)

    assert drawn == [0, 0, 1]  # study 0 was compiled in one of the ways before
    assert set(curved.studies()["study_instance_uid"]) == set(plain.studies()["study_instance_uid"])
    assert len(curved.levels()) == 14
    assert plain.levels().empty
    again = write_phantom_dataset(tmp_path / "again", known, studies=2, seed=11, settings=SMALL)
    for path in sorted((tmp_path / "again" / "images").rglob("*.jpg")):
        assert path.read_bytes() == (curved.folder / path.relative_to(again.folder)).read_bytes()


def test_a_scan_without_a_spine_is_kept_with_its_reason(tmp_path: Path) -> None:
    class Blind:
        sha256 = "b" * 64

        def __call__(self, volume: highdicom.Volume) -> SpineMap:  # noqa: ARG002 - whatever it is
            return SpineMap(())

    store = write_phantom_dataset(
        tmp_path / "data", Compiler(CompileSettings(), Blind()), studies=1, seed=1, settings=SMALL
    )

    (reason,) = store.studies()["reason"]
    assert reason == "no cervical vertebra was found in the scan"
    assert store.levels().empty


@pytest.mark.parametrize("shear", [0.0, 0.3, -0.45])
def test_straightening_keeps_places(shear: float) -> None:
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = 2.0, 1.0, 1.0, 1.0
    affine[1, 0] = 2.0 * shear
    hu = np.full((12, 40, 8), -1000, np.int16)
    hu[6, 20, 4] = 1000
    place = affine @ [6, 20, 4, 1]

    volume = straight(hu, affine)

    index = volume.inverse_affine @ place
    k, j, i = (round(float(value)) for value in index[:3])
    assert abs(index[1] - j) < 0.51
    assert volume.array[k, j - 1 : j + 2, i].max() > -200
    steps = volume.affine[:3, :3]
    np.testing.assert_allclose(steps.T @ steps, np.diag(np.diag(steps.T @ steps)), atol=1e-9)
