"""Virtual studies: exact truth, shams without labels."""

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import ndimage
from tests.support.intact import intact_scan, phantom, render_at, spine_map, volume

from cspine.core.errors import NotAssessableError
from cspine.core.typing import Floats, Floats32
from cspine.insertion.registration import register_vertebrae
from cspine.insertion.scan import IntactScan
from cspine.insertion.settings import InsertionSettings, fracture_types
from cspine.insertion.study import as_scanned, render_virtual_study
from cspine.insertion.territories import OTHER_BONE
from cspine.phantom.geometry.grid import Grid, GridWindow
from cspine.spine.spine_map import SpineMap


def test_registration_finds_the_frames_of_the_phantom() -> None:
    for level, vertebra in intact_scan().vertebrae.items():
        error_mm = np.linalg.norm(vertebra.frame_lps[:3, 3] - phantom().frames[level][:3, 3])
        assert error_mm < (1.0 if level not in {"C1", "T1"} else 3.0)  # whose heights the scan does not show
    assert intact_scan().breakable == ("C1", "C2", "C3", "C4", "C5", "C6", "C7")


def test_territories_are_those_of_the_phantom() -> None:
    labels, truth = intact_scan().labels, phantom().labels
    for number in range(1, 8):
        own, true = labels == number, truth == number
        assert 2 * (own & true).sum() / (own.sum() + true.sum()) > 0.72


def test_the_vertebral_canal_belongs_to_no_vertebra() -> None:
    """Slices show it closed, as they do marrow."""
    scan = intact_scan()
    for vertebra in spine_map().cervical.values():
        assert vertebra is not None
        for up_mm in np.arange(-9.0, 9.1, 1.5):
            point = vertebra.canal_lps_mm + up_mm * vertebra.frame_lps[:3, 2]
            index = np.rint(np.linalg.inv(scan.grid.affine) @ [*point, 1.0])[:3].astype(int)
            assert scan.labels[tuple(index)] in {0, OTHER_BONE}


def test_vertebrae_taken_for_others_are_registered_where_they_are() -> None:
    """Their levels ascend along the spine, so that nothing is known of their distances."""
    others = ("C7", "C6", "C5", "C4", "C3")
    own = [vertebra for vertebra in spine_map().vertebrae if vertebra.level in others]
    renamed = SpineMap(tuple(replace(vertebra, level=level) for vertebra, level in zip(own, others, strict=True)))

    registered = register_vertebrae(intact_scan().grid, intact_scan().hu.astype(np.float32), renamed)

    for vertebra in renamed.vertebrae:
        moved_mm = np.linalg.norm(registered[vertebra.level].frame_lps[:3, 3] - vertebra.frame_lps[:3, 3])
        assert moved_mm < 5.0


def test_a_fracture_has_exact_truth() -> None:
    study = render_at("fracture", 1, "C5", "lamina")
    (record,) = study.truth["fractures"]

    assert study.truth["levels"] == ["C5"]
    assert record["fracture_type"] == "lamina"
    assert 0 < record["visibility"] <= 1
    assert set(np.unique(study.fracture_mask).tolist()) == {0, 5}
    points = np.argwhere(study.fracture_mask) @ study.affine_lps[:3, :3].T + study.affine_lps[:3, 3]
    assert np.linalg.norm(points - record["center_lps_mm"], axis=1).min() < 3.0
    changed = study.hu != intact_scan().hu
    assert changed.any()
    points = np.argwhere(changed) @ study.affine_lps[:3, :3].T + study.affine_lps[:3, 3]
    assert np.linalg.norm(points - record["center_lps_mm"], axis=1).max() < 45.0


def test_a_sham_changes_the_scan_and_has_no_label() -> None:
    sham = render_at("sham", 1, "C5", "lamina")

    assert (sham.hu != intact_scan().hu).any()
    assert not sham.fracture_mask.any()
    assert not sham.truth["fractures"]
    assert not sham.truth["levels"]
    assert sham.truth["shams"] == [{"level": "C5", "fracture_type": "lamina"}]


def test_an_intact_study_is_the_scan() -> None:
    intact = render_at("intact", 1, "C5", "lamina")

    np.testing.assert_array_equal(intact.hu, intact_scan().hu)
    assert not intact.truth["levels"]


def test_the_same_seed_gives_the_same_study() -> None:
    one, other = render_at("fracture", 4, "C3", "lamina"), render_at("fracture", 4, "C3", "lamina")

    np.testing.assert_array_equal(one.hu, other.hu)
    assert one.truth == other.truth


def test_six_statistics_of_noise_and_sharpness_do_not_tell_shams_for_sure() -> None:
    """Of bone and soft tissue together, in few places; more of them, of bone alone, do: see `test_shams`."""
    features, labels = [], []
    for number, (level, kind) in enumerate((level, kind) for level in ("C3", "C4", "C5", "C6") for kind in range(3)):
        sham = render_at("sham", number, level, ("facet", "lamina", "spinous process")[kind])
        touched = ndimage.binary_closing(sham.hu != intact_scan().hu, iterations=2)
        features += [_texture(sham.hu, touched), _texture(intact_scan().hu, touched)]
        labels += [1, 0]

    assert 0.2 < _held_out_auc(np.array(features), np.array(labels)) < 0.8


def _texture(hu: np.ndarray, region: np.ndarray) -> list[float]:
    """Return statistics of noise and sharpness in a region."""
    values = hu.astype(np.float32)
    residual = values - ndimage.gaussian_filter(values, 0.8)
    (box,) = ndimage.find_objects(region.astype(np.uint8))
    part, inside = residual[box], region[box]
    lag = [float(np.corrcoef(part[inside], np.roll(part, 1, axis)[inside])[0, 1]) for axis in range(3)]
    steep = np.sqrt(sum(each**2 for each in np.gradient(values[box])))[inside]
    return [float(part[inside].std()), float(np.abs(part[inside]).mean()), float(np.quantile(steep, 0.9)), *lag]


def _held_out_auc(features: Floats, labels: np.ndarray) -> float:
    """Return the AUC of linear discriminants, each tested on a pair of places that it was not trained on."""
    scores = np.zeros(len(labels))
    for pair in range(0, len(labels), 2):
        train = np.ones(len(labels), np.bool_)
        train[pair : pair + 2] = False
        mean, sd = features[train].mean(axis=0), features[train].std(axis=0) + 1e-9
        scaled = (features - mean) / sd
        spread = np.cov(scaled[train].T) + 0.3 * np.eye(features.shape[1])
        difference = scaled[train & (labels == 1)].mean(axis=0) - scaled[train & (labels == 0)].mean(axis=0)
        scores[pair : pair + 2] = scaled[pair : pair + 2] @ np.linalg.solve(spread, difference)
    positive, negative = scores[labels == 1], scores[labels == 0]
    return float((positive[:, None] > negative[None]).mean())


def test_fractures_are_as_visible_as_requested() -> None:
    settings = InsertionSettings(level_mix={"C4": 1.0}, vertebrae_per_study={1: 1.0}, min_visibility=0.75)

    for seed in range(3):
        rng = np.random.default_rng(seed)
        study = render_virtual_study(intact_scan(), "fracture", settings, rng, thickness_mm=1.5)
        (record,) = study.truth["fractures"]
        assert record["visibility"] >= 0.75
        assert record["conspicuity"] > 1.0
        rng = np.random.default_rng(seed)
        sham = render_virtual_study(intact_scan(), "sham", settings, rng, thickness_mm=1.5)
        assert sham.truth["shams"] == [{"level": "C4", "fracture_type": record["fracture_type"]}], "in the same place"


def test_visibility_is_that_of_the_acquisition() -> None:
    """What a scan shows can be lost in a blurred image of it."""
    settings = InsertionSettings(level_mix={"C5": 1.0}, vertebrae_per_study={1: 1.0}, fracture_width_mm=(0.4, 0.8))

    def blurred(hu: Floats32, grid: Grid, window: GridWindow) -> tuple[Floats32, Grid]:  # noqa: ARG001
        return np.asarray(ndimage.gaussian_filter(hu, 2.0)), grid

    for seed in range(3):
        sharp, soft = (
            render_virtual_study(
                intact_scan(), "fracture", settings, np.random.default_rng(seed), thickness_mm=1.5, acquire=acquire
            )
            for acquire in (as_scanned, blurred)
        )
        np.testing.assert_array_equal(sharp.hu, soft.hu)
        (seen,), (lost,) = sharp.truth["fractures"], soft.truth["fractures"]
        assert lost["visibility"] < seen["visibility"]
        assert lost["modelled_visibility"] == seen["modelled_visibility"]


def test_a_scan_without_a_complete_vertebra_is_not_assessable() -> None:
    with pytest.raises(NotAssessableError, match="no cervical vertebra of certain level was scanned completely"):
        IntactScan.of(volume(), spine_map(scanned_fraction=0.5))


def test_unknown_types_and_levels_are_errors() -> None:
    with pytest.raises(ValidationError, match="there is no fracture type chip"):
        InsertionSettings(type_mix={"chip": 1.0})
    with pytest.raises(ValidationError, match="C1 to C7"):
        InsertionSettings(level_mix={"T1": 1.0})
    assert "hangman" in fracture_types()
