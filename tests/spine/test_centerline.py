"""The centerline of the canal and the coordinates of its curved planes."""

import numpy as np
import pytest
from tests.support.spines import scoliotic_spine

from cspine.core.errors import NotAssessableError
from cspine.spine.centerline import SpineCenterline
from cspine.spine.spine_map import SpineMap, Vertebra


def test_to_lps_inverts_to_plane() -> None:
    centerline = SpineCenterline.from_spine_map(scoliotic_spine())
    points = np.random.default_rng(0).normal(0.0, 25.0, (200, 3))

    np.testing.assert_allclose(centerline.to_lps(*centerline.to_plane(points).T), points, atol=1e-3)


def test_curved_planes_preserve_lordosis() -> None:
    lordotic = []
    for vertebra in scoliotic_spine().vertebrae:
        frame = np.eye(4)
        frame[:3, 3] = [0.0, 0.01 * vertebra.frame_lps[2, 3] ** 2, vertebra.frame_lps[2, 3]]
        lordotic.append(Vertebra(vertebra.level, frame, frame[:3, 3], vertebra.box_mm, 1.0, 1.0, 9000.0))
    centerline = SpineCenterline.from_spine_map(SpineMap(tuple(lordotic)))

    posterior = centerline.to_plane([vertebra.frame_lps[:3, 3] for vertebra in lordotic])[:, 1]

    expected = np.array([vertebra.frame_lps[1, 3] for vertebra in lordotic])
    np.testing.assert_allclose(posterior - posterior[3], expected - expected[3], atol=1e-6)


def test_centerline_of_a_single_vertebra_is_vertical() -> None:
    centerline = SpineCenterline.from_spine_map(SpineMap(scoliotic_spine().vertebrae[2:3]))

    canal, left, back = centerline.at([0.0, 100.0])

    np.testing.assert_allclose(canal[0, :2], canal[1, :2])
    np.testing.assert_allclose(np.einsum("nk,nk->n", left, back), 0.0, atol=1e-12)


def test_centerline_needs_a_vertebra() -> None:
    with pytest.raises(NotAssessableError, match="no vertebra was found"):
        SpineCenterline.from_spine_map(SpineMap(()))
