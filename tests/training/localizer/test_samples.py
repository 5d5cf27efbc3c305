"""The localizer's samples: of body phantoms, of segmented studies, and of scans whose vertebrae a reader marked."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from cspine.core.errors import PreemptedError, SourceError
from cspine.localization.scan import Scan
from cspine.models.metadata import COARSE_MM
from cspine.phantom import PhantomSettings, synthesize
from cspine.phantom.body.settings import BODY_DOMAINS
from cspine.phantom.scanner.render import SKULL_LABEL
from cspine.spine.occupancy_template import OccupancyTemplate
from cspine.training.localizer.annotated import annotated_sample
from cspine.training.localizer.examples import (
    FINE_MM,
    FRAMED_LEVELS,
    UNKNOWN_LABEL,
    LocalizerSample,
    write_phantom_set,
    write_segmented_set,
)

NECKS = BODY_DOMAINS["source"].model_copy(update={"kinds": {"neck": 1.0}, "field_of_view_mm": (150.0, 170.0)})
SMALL = PhantomSettings(matrix=96, slice_spacing_mm=(2.0, 2.0), tilt_fraction=0.0, truncated_fraction=0.0)


def test_phantom_sets_are_resumed_and_know_all_frames(tmp_path: Path) -> None:
    first = write_phantom_set(tmp_path / "coarse", studies=1, seed=5, settings=NECKS)
    before = first[0].stat().st_mtime_ns

    files = write_phantom_set(tmp_path / "coarse", studies=2, seed=5, settings=NECKS)
    fine = write_phantom_set(tmp_path / "fine", studies=1, seed=5, settings=NECKS, is_fine=True)

    assert len(files) == 2
    assert files[0].stat().st_mtime_ns == before
    for path, spacing_mm in ((files[0], COARSE_MM), (fine[0], FINE_MM)):
        sample = LocalizerSample.load(path)
        known = {level for level, frame in zip(FRAMED_LEVELS, sample.frames, strict=True) if np.isfinite(frame).all()}
        assert sample.spacing_mm == spacing_mm
        assert {"C1", "C4", "C7"} <= known
        assert SKULL_LABEL in sample.labels
        for level in ("C3", "C6"):  # the center of the body is bone of the level
            number = FRAMED_LEVELS.index(level)
            k, j, i = np.rint(sample.index_of(sample.frames[number][None, :3, 3])[0]).astype(int)
            assert sample.labels[k - 1 : k + 2, j - 1 : j + 2, i - 1 : i + 2].max() == number + 1


def test_segmented_samples_have_fitted_frames(tmp_path: Path) -> None:
    data = tmp_path / "data"
    synthesize(data, studies=1, seed=4, settings=SMALL)

    (coarse,) = write_segmented_set(tmp_path / "coarse", data)
    (fine,) = write_segmented_set(tmp_path / "fine", data, is_fine=True)

    for path, spacing_mm in ((coarse, COARSE_MM), (fine, FINE_MM)):
        sample = LocalizerSample.load(path)
        assert sample.spacing_mm == spacing_mm
        assert set(range(1, 8)) <= set(np.unique(sample.labels).tolist())
        assert np.isfinite(sample.frames[:7]).all()
        assert np.isnan(sample.frames[9:]).all()
        assert not sample.knows_skull
    with pytest.raises(SourceError, match="holds no segmentations"):
        write_segmented_set(tmp_path / "none", tmp_path)


def test_damaged_sample_is_refused(tmp_path: Path) -> None:
    (tmp_path / "0.npz").write_bytes(b"PK")

    with pytest.raises(SourceError, match="is not a coarse volume"):
        LocalizerSample.load(tmp_path / "0.npz")


def test_marked_vertebrae_are_labeled_where_bone_and_template_agree() -> None:
    frame = np.eye(4)
    frame[:3, 3] = [0.0, 0.0, 0.0]
    cells = [(x, y, z, 0.9 if max(x, -1 - x, y, -1 - y, z, -1 - z) < 1 else 0.1) for x in (-2, -1, 0, 1)
             for y in (-2, -1, 0, 1) for z in (-2, -1, 0, 1)]  # fmt: skip
    template = OccupancyTemplate(cells=tuple(cells))
    hu = np.full((40, 40, 40), 30, np.int16)
    hu[15:25, 15:25, 15:25] = 400  # the vertebra: 10 mm about the origin
    hu[15:25, 15:25, 33:38] = 400  # other bone
    hu[0:6, 15:25, 15:25] = 400  # the next vertebra, which is not marked
    affine = np.array([[0.0, 0.0, 1.0, -19.5], [0.0, 1.0, 0.0, -19.5], [1.0, 0.0, 0.0, -19.5], [0.0, 0.0, 0.0, 1.0]])

    sample = annotated_sample(Scan(hu, affine), {"C4": frame}, {"C4": template}, 2.0)

    labels, at = sample.labels, sample.index_of(np.array([[0.0, 0.0, 0.0], [16.0, 0.0, 0.0], [0.0, 0.0, -17.0]]))
    center, aside, below = (tuple(index) for index in np.rint(at).astype(int).tolist())
    assert labels[center] == 4
    assert labels[aside] == 0
    assert labels[below] == UNKNOWN_LABEL
    assert np.isfinite(sample.frames[3]).all()
    assert not sample.knows_skull


def test_a_signal_ends_the_drawing_of_samples_after_the_present_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Sample:
        def save(self, path: Path) -> None:
            path.touch()

    def draw(*_: object) -> Sample:
        os.kill(os.getpid(), signal.SIGTERM)
        return Sample()

    monkeypatch.setattr("cspine.training.localizer.examples.phantom_sample", draw)

    with pytest.raises(PreemptedError, match="all finished work is kept"):
        write_phantom_set(tmp_path, studies=3, seed=5, settings=NECKS)

    assert len(list(tmp_path.glob("*.npz"))) == 1
