"""Large scans are localized in tiles, in bounded memory."""

import numpy as np
import pytest

from cspine.core.errors import NotAssessableError
from cspine.localization import tiles
from cspine.localization.coarse import CoarseVolume
from cspine.localization.localizer import Localizer
from cspine.localization.tiles import MARGIN, MAX_WHOLE_VOXELS, SIDE_MULTIPLE, plan_tiles, split_box
from cspine.spine.boxes import require_plausible_size


def test_a_neck_is_seen_whole() -> None:
    (tile,) = plan_tiles(np.zeros((100, 90, 90), np.int16), (128, 96, 96))

    assert tile.seen == tile.core == (slice(0, 128), slice(0, 96), slice(0, 96))


@pytest.mark.parametrize("shape", [(352, 176, 176), (736, 144, 192), (240, 240, 240)])
def test_cores_are_a_partition_and_surrounded_by_the_margin(shape: tuple[int, int, int]) -> None:
    count = np.zeros(shape, np.uint8)

    for tile in split_box((slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2]))):
        count[tile.core] += 1
        for core, seen, length in zip(tile.core, tile.seen, shape, strict=True):
            assert seen.start % SIDE_MULTIPLE == (seen.stop - seen.start) % SIDE_MULTIPLE == 0
            assert (seen.start, seen.stop) == (max(core.start - MARGIN, 0), min(core.stop + MARGIN, length))
        assert np.prod([part.stop - part.start for part in tile.seen]) <= MAX_WHOLE_VOXELS

    assert (count == 1).all()


def test_the_air_around_the_body_and_tiles_without_bone_are_left_out() -> None:
    hu = np.full((400, 160, 160), -1000, np.int16)
    hu[:, 40:100, 30:110] = 40
    hu[:, 130:132, 20:140] = 30  # a table
    hu[10:60, 60:70, 60:70] = 400

    seen = plan_tiles(hu, (416, 176, 176))

    assert all(tile.seen[1:] == (slice(32, 112), slice(16, 128)) for tile in seen)
    assert max(tile.core[0].stop for tile in seen) < 200
    assert min(tile.core[0].start for tile in seen) == 0


def test_tiles_with_a_wide_overlap_give_the_outputs_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    z, y, x = np.indices((216, 24, 24))
    hu = np.where((z // 4 % 2 == 0) & (np.hypot(y - 12, x - 12) < 6), 600, 40).astype(np.int16)
    coarse, localizer = CoarseVolume(hu, np.zeros(3), np.ones(hu.shape, np.bool_)), Localizer.load()
    whole = localizer.run_network(coarse)

    monkeypatch.setattr(tiles, "MAX_WHOLE_VOXELS", 0)
    monkeypatch.setattr(tiles, "MARGIN", 96)
    monkeypatch.setattr(tiles, "_choose_cores", lambda lengths: (32, *lengths[1:]))
    parts = localizer.run_network(coarse)

    assert len(whole.index) > 1000
    assert parts.shape == whole.shape
    for name in ("index", "probability", "level_probabilities", "positions"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), atol=1e-5)


@pytest.mark.parametrize("extent_mm", [(800.0, 800.0, 2200.0), (500.0, 500.0, 1000.0)])
def test_the_whole_body_is_plausible(extent_mm: tuple[float, float, float]) -> None:
    require_plausible_size(np.array(extent_mm))


@pytest.mark.parametrize("extent_mm", [(300.0, 300.0, 9000.0), (2000.0, 2000.0, 2000.0)])
def test_no_ct_is_larger_than_a_body(extent_mm: tuple[float, float, float]) -> None:
    with pytest.raises(NotAssessableError, match="m large, which no CT is") as raised:
        require_plausible_size(np.array(extent_mm))

    assert raised.value.code == "implausible-size"
