"""Where the pixels of a plane through a vertebra are sampled, and their mean over its thickness."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import numpy as np
import scipy

from cspine.core.typing import Floats, Floats32, HounsfieldUnits
from cspine.dicom.hounsfield import AIR_HU

if TYPE_CHECKING:
    from cspine.views.level_views import LevelViewSettings, Plane

IN_PLANE_AXES: Final = {"sagittal": (1, 2), "coronal": (0, 2), "axial": (0, 1)}
"""The axes of the frame along which a plane's columns and rows run."""

NORMAL_AXIS: Final = {"sagittal": 0, "coronal": 1, "axial": 2}

ROW_SIGN: Final = {"sagittal": -1.0, "coronal": -1.0, "axial": 1.0}
"""Rows run from the head down, those of axial planes from front to back."""

_SLAB_STEP_MM: Final = 0.6
"""A plane is sampled across its thickness at about this spacing."""

_MAX_SLAB_SAMPLES: Final = 8


def mean_plane(
    hu: HounsfieldUnits, to_index: Floats, plane: "tuple[Plane, float]", settings: "LevelViewSettings"
) -> Floats32:
    """Return the HU of a plane, (rows, columns), averaged over its thickness; air outside the scan.

    Parameters
    ----------
    hu : (k, j, i) int16
        The volume.
    to_index, plane, settings
        As of `sample_indices`.
    """
    matrix, origin, n_layers = _sample_grid(to_index, plane, settings)
    layers = np.empty((n_layers, settings.pixels, settings.pixels), np.float32)
    # Faster by a quarter than map_coordinates, which reads every coordinate from memory.
    scipy.ndimage.affine_transform(
        hu, matrix, origin, layers.shape, output=layers, order=1, mode="constant", cval=AIR_HU
    )
    return np.asarray(layers.mean(axis=0))


def sample_indices(to_index: Floats, plane: "tuple[Plane, float]", settings: "LevelViewSettings") -> Iterator[Floats]:
    """Yield the voxel coordinates at which a plane is sampled, layer by layer across its thickness.

    Parameters
    ----------
    to_index : (4, 4)
        Affine from mm in the vertebra's box to voxels.
    plane : (str, float)
        Orientation and offset of the plane, an item of `LevelViewSettings.planes`.
    settings : LevelViewSettings
        Size, resolution and thickness of the plane.

    Yields
    ------
    (3, rows, columns)
        Fractional indices k, j and i.
    """
    matrix, origin, n_layers = _sample_grid(to_index, plane, settings)
    layer, row, column = matrix.T[:, :, None, None]
    steps = np.arange(settings.pixels)
    for number in range(n_layers):
        yield origin[:, None, None] + number * layer + row * steps[:, None] + column * steps


def _sample_grid(
    to_index: Floats, plane: "tuple[Plane, float]", settings: "LevelViewSettings"
) -> tuple[Floats, Floats, int]:
    """Return the affine from layer, row and column of a plane to voxels, and the number of layers.

    Parameters
    ----------
    to_index, plane, settings
        As of `sample_indices`.

    Returns
    -------
    matrix : (3, 3)
        Voxels (k, j, i) from layer to layer, row to row and column to column, as columns.
    origin : (3,)
        Voxel coordinates of the first pixel of the first layer.
    n_layers : int
        Layers across the thickness of the plane.
    """
    orientation, offset_mm = plane
    across, down, normal = *IN_PLANE_AXES[orientation], NORMAL_AXIS[orientation]
    n_layers = int(np.clip(round(settings.slab_mm / _SLAB_STEP_MM), 1, _MAX_SLAB_SAMPLES))
    steps_mm = np.zeros((3, 3))
    steps_mm[[normal, down, across], [0, 1, 2]] = (
        settings.slab_mm / n_layers,
        ROW_SIGN[orientation] * settings.pixel_mm,
        settings.pixel_mm,
    )
    center = (n_layers - 1) / 2, (settings.pixels - 1) / 2, (settings.pixels - 1) / 2
    origin_mm = -steps_mm @ center
    origin_mm[normal] += offset_mm
    matrix = to_index[:3, :3] @ steps_mm
    return matrix, to_index[:3, :3] @ origin_mm + to_index[:3, 3], n_layers
