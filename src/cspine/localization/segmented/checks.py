"""Whether a segmentation can be that of a scan: on bone, and with vertebrae of the shape and the size of vertebrae."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy import ndimage

from cspine.core.errors import LabelError
from cspine.core.typing import Floats, Indices
from cspine.localization.level_assignment import relative_size
from cspine.localization.plausibility import MAX_SIZE, MIN_SIZE
from cspine.localization.segmented.placed_column import PlacedVertebra
from cspine.spine.mask_frames import VertebraMask
from cspine.spine.spine_map import Vertebra

if TYPE_CHECKING:
    import highdicom

_SHELL_MM: Final = (3.0, 6.0)
"""Distance from the mask of the tissue that it is compared with."""

_WINDOW_HU: Final = (-200.0, 600.0)
"""Attenuation is clipped to this range before it is averaged: metal and air count no more than bone and fat."""

_MIN_CONTRAST_HU: Final = 60.0
"""Least difference of the mean attenuation of the vertebrae and of the tissue about them."""

_MAX_POINTS: Final = 4000
"""Points of each vertebra at which attenuation is compared."""

_MIN_AGREEMENT: Final = 0.72
"""Least median agreement of the masks of whole vertebrae with the templates of their levels. Phantoms have 0.86 and
more at any resolution, masks of real necks by a network 0.82; phantoms turned front to back and bodies without arches
at most 0.70."""


def check_bone(name: str, masks: Mapping[str, VertebraMask], volume: "highdicom.Volume") -> None:
    """Raise unless attenuation is higher in the vertebrae than about them.

    Parameters
    ----------
    name : str
        Name of the file, for messages.
    masks : dict
        Level to mask.
    volume : highdicom.Volume
        HU in any orientation.

    Raises
    ------
    LabelError
        The masks lie on no bone.
    """
    contrasts = [contrast for mask in masks.values() if np.isfinite(contrast := _contrast_hu(mask, volume))]
    if contrasts and float(np.median(contrasts)) < _MIN_CONTRAST_HU:
        raise LabelError(
            f"{name}: its vertebrae lie on no bone of this scan ({np.median(contrasts):.0f} HU more than about them); "
            "give the segmentation of this scan"
        )


def _contrast_hu(mask: VertebraMask, volume: "highdicom.Volume") -> float:
    """Return the difference of the mean HU in a mask and in a shell about it; nan where either is not in the scan."""
    sides_mm = np.linalg.norm(mask.affine_lps[:3, :3], axis=0)
    is_bone = mask.occupancy >= 0.5
    distance_mm = ndimage.distance_transform_edt(~is_bone, sides_mm)
    is_shell = (distance_mm > _SHELL_MM[0]) & (distance_mm <= max(_SHELL_MM[1], _SHELL_MM[0] + sides_mm.max()))
    bone, shell = (_mean_hu(np.argwhere(part), mask.affine_lps, volume) for part in (is_bone, is_shell))
    return bone - shell


def _mean_hu(index: Indices, affine_lps: Floats, volume: "highdicom.Volume") -> float:
    """Return the mean of the clipped HU at voxels of a mask's grid; nan where none is in the scan."""
    index = index[:: max(len(index) // _MAX_POINTS, 1)]
    to_volume = np.asarray(volume.inverse_affine) @ affine_lps
    voxels = np.rint(to_volume[:3, :3] @ index.T + to_volume[:3, 3:]).astype(np.intp)
    inside = np.all((voxels >= 0) & (voxels < np.array(volume.spatial_shape)[:, None]), axis=0)
    if not inside.any():
        return float("nan")
    return float(np.clip(volume.array[tuple(voxels[:, inside])], *_WINDOW_HU).mean())


def check_shape(name: str, placed: Sequence[PlacedVertebra]) -> None:
    """Raise unless whole vertebrae have the shape of vertebrae of their levels, and face the patient's front.

    Raises
    ------
    LabelError
        They differ from the templates.
    """
    agreements = [each.fit.agreement for each in placed if not each.mask.is_cut]
    if agreements and float(np.median(agreements)) < _MIN_AGREEMENT:
        raise LabelError(
            f"{name}: its vertebrae differ in shape from vertebrae of the patient's orientation (agreement "
            f"{np.median(agreements):.2f}, at least {_MIN_AGREEMENT:.2f} is needed); check its affine, and that bodies "
            "and arches are segmented"
        )


def check_size(name: str, vertebrae: Sequence[Vertebra]) -> None:
    """Raise unless distances between vertebrae are those of a patient.

    Raises
    ------
    LabelError
        The vertebrae are too near to each other or too far.
    """
    size = relative_size(vertebrae)
    if size is not None and not MIN_SIZE <= size <= MAX_SIZE:
        raise LabelError(
            f"{name}: the distances between its vertebrae are {size:.1f} times an adult's; check affine and numbering"
        )
