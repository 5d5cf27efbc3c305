"""Patches of real bone with cracks drawn into them, for pretraining of the encoder.

Virtual fractures (`cspine.insertion`) need a complete cervical vertebra that agrees with the phantom's shape, of which
public scans hold few. A patch of 29 mm shows no vertebra, only bone: here a rough crack is drawn at any place in the
bone of a scan, of whatever part of the body, so that many more joints, vessels, osteophytes and textures take part.
Half of the patches show the same places without a crack, warped as much.

A crack is a plane with a rough surface, of limited extent. Bone on one side of it moves; the gap is filled with fluid
or, where the fragments are driven into each other, bone is added. The change is blurred by the scanner's point spread
function (`cspine.insertion.sharpness`).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final, Self

import numpy as np
import numpy.typing as npt
import scipy
from torch.utils.data import Dataset

from cspine.core.typing import Bools, Floats, Floats32, HounsfieldUnits
from cspine.dicom.hounsfield import AIR_HU
from cspine.insertion.sharpness import measure_sharpness
from cspine.training.levels.patches import PATCHES_PER_FRACTURE, draw_shift, patch_batch, patch_pixels
from cspine.training.task import Batch
from cspine.views.fracture_labels import CELL_PIXELS
from cspine.views.level_views import PLANES, LevelViewSettings

if TYPE_CHECKING:
    import highdicom

_BONE_HU: Final = 180.0
"""Least attenuation of bone, averaged over about 2 mm; trabecular bone of the old is below, and is then not cracked."""

_BONE_SD_MM: Final = 0.8
_BORDER_MM: Final = 8.0
"""Bone nearer to the border of the scan is not cracked."""

_PLACES: Final = 20_000
"""Places in the bone of a scan among which cracks are drawn."""

_TILT_SD_RAD: Final = 0.2
"""Planes lie along the axes of vertebrae, which are tilted against those of the body."""

_OPENING_MM: Final = (0.6, 2.6)
_STEP_MM: Final = (0.0, 2.5)
"""Width of the gap, and displacement of the bone beyond it."""

_RADIUS_MM: Final = (6.0, 16.0)
_REACH_MM: Final = 9.0
"""Distance over which the displacement beyond a crack fades."""

_ROUGHNESS_MM: Final = (0.1, 0.9)
_WAVELENGTH_MM: Final = (4.0, 18.0)
_N_WAVES: Final = 5

_FLUID_HU: Final = (10.0, 80.0)
_P_IMPACTED: Final = 0.2
_IMPACTED_HU: Final = (150.0, 450.0)
"""Attenuation that overlapping trabeculae add."""

_SOFT_EDGE_MM: Final = 0.3
_VISIBLE_HU: Final = 90.0
"""Cells in which the crack changes the image by less than this are not labeled."""

_MAX_DRAWS: Final = 8
"""Cracks that are drawn for an item before one without visible change is taken."""


@dataclass(frozen=True)
class BoneScan:
    """A real scan whose bone cracks are drawn in.

    Attributes
    ----------
    name : str
        Name of the scan.
    hu : (k, j, i) int16
        Hounsfield units.
    affine_lps : (4, 4)
        From voxels to LPS mm.
    places_lps : (n, 3)
        Places within bone, in LPS mm.
    blur_mm : float
        Standard deviation of the scanner's point spread function, averaged over the axes.
    """

    name: str
    hu: HounsfieldUnits
    affine_lps: Floats
    places_lps: Floats
    blur_mm: float

    @classmethod
    def of(cls, name: str, volume: "highdicom.Volume") -> Self:
        """Find the bone of a volume of HU."""
        hu, spacing_mm = volume.array.astype(np.int16), np.array(volume.spacing, np.float64)
        density = scipy.ndimage.gaussian_filter(hu.astype(np.float32), (_BONE_SD_MM / spacing_mm).tolist())
        border = np.ceil(_BORDER_MM / spacing_mm).astype(int)
        inner = tuple(slice(width, max(size - width, width)) for width, size in zip(border, hu.shape, strict=True))
        voxels = np.argwhere(density[inner] > _BONE_HU) + border
        rng = np.random.default_rng(len(voxels))
        voxels = voxels[rng.permutation(len(voxels))[:_PLACES]]
        affine = np.array(volume.affine, np.float64)
        places = voxels @ affine[:3, :3].T + affine[:3, 3]
        return cls(name, hu, affine, places, float(measure_sharpness(hu, spacing_mm).mean()))

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the voxels and where they lie."""
        return hashlib.sha256(self.hu.tobytes() + self.affine_lps.tobytes()).hexdigest()

    def sample(self, points_lps: Floats) -> Floats32:
        """Return the HU at points, (..., 3) LPS mm, by linear interpolation."""
        to_index = np.linalg.inv(self.affine_lps)
        index = np.moveaxis(points_lps @ to_index[:3, :3].T + to_index[:3, 3], -1, 0)
        return np.asarray(
            scipy.ndimage.map_coordinates(self.hu, index, np.float32, order=1, mode="constant", cval=AIR_HU)
        )


@dataclass(frozen=True)
class Crack:
    """A rough crack of limited extent.

    Attributes
    ----------
    center_lps : (3,)
        LPS mm.
    axes : (3, 3)
        Rows are two directions in the plane of the crack, and its normal.
    waves : (n, 4)
        Wave vector in the plane in 1/mm (2), phase and height in mm of each wave of the surface.
    radius_mm, opening_mm : float
        Extent, and width of the gap.
    step_lps : (3,)
        Displacement of the bone beyond it, mm.
    added_hu : float
        Attenuation added in the gap where bone is impacted; 0 where the gap is filled with `fluid_hu`.
    fluid_hu : float
        HU in the gap.
    """

    center_lps: Floats
    axes: Floats
    waves: Floats
    radius_mm: float
    opening_mm: float
    step_lps: Floats
    added_hu: float
    fluid_hu: float

    @classmethod
    def draw(cls, center_lps: Floats, rng: np.random.Generator) -> Self:
        """Draw a crack at a place."""
        axes = np.linalg.qr(rng.normal(size=(3, 3)))[0].T
        angle, count = rng.uniform(0, 2 * np.pi, _N_WAVES), _N_WAVES
        number = 2 * np.pi / rng.uniform(*_WAVELENGTH_MM, count)
        height = rng.uniform(*_ROUGHNESS_MM) * rng.normal(size=count) / np.sqrt(count)
        waves = np.column_stack(
            [number * np.cos(angle), number * np.sin(angle), rng.uniform(0, 2 * np.pi, count), height]
        )
        opening, is_impacted = float(rng.uniform(*_OPENING_MM)), rng.random() < _P_IMPACTED
        direction = rng.normal(size=3)
        step = rng.uniform(*_STEP_MM) * direction / np.linalg.norm(direction)
        # Beyond the gap bone lies as far away as it is wide; driven in, it lies nearer.
        apart = -opening if is_impacted else opening
        return cls(
            np.asarray(center_lps, np.float64),
            axes,
            waves,
            float(rng.uniform(*_RADIUS_MM)),
            opening,
            step + apart * axes[2],
            float(rng.uniform(*_IMPACTED_HU)) if is_impacted else 0.0,
            float(rng.uniform(*_FLUID_HU)),
        )

    def apply(self, scan: BoneScan, points_lps: Floats) -> tuple[Floats32, Floats32, Floats32]:
        """Return the HU at points, (..., 3) LPS mm, without displacement, moved without a crack, and cracked."""
        distance, extent = self.distance_mm(points_lps)
        fade = extent * np.exp(-0.5 * (distance / _REACH_MM) ** 2)
        intact = scan.sample(points_lps)
        moved = scan.sample(points_lps - (0.5 * fade)[..., None] * self.step_lps)
        beyond = (distance > 0) * fade
        cracked = scan.sample(points_lps - beyond[..., None] * self.step_lps)
        width = 0.5 * self.opening_mm * extent
        gap = np.clip((width - np.abs(distance)) / _SOFT_EDGE_MM + 0.5, 0.0, 1.0) * (extent > 0.0)
        is_bone = np.maximum(intact, cracked) > _BONE_HU
        filled = cracked + self.added_hu if self.added_hu else np.minimum(cracked, self.fluid_hu)
        cracked = np.where(is_bone, cracked + gap * (filled - cracked), cracked)
        return intact, moved, np.asarray(cracked, np.float32)

    def distance_mm(self, points_lps: Floats) -> tuple[Floats, Floats]:
        """Return the signed distance from the crack's surface, and 1 at its center to 0 where it ends."""
        local = (points_lps - self.center_lps) @ self.axes.T
        phase = local[..., :2] @ self.waves[:, :2].T + self.waves[:, 2]
        surface = (np.sin(phase) * self.waves[:, 3]).sum(axis=-1)
        radius = np.linalg.norm(local, axis=-1) / self.radius_mm
        extent = np.clip((1.0 - radius) / 0.4, 0.0, 1.0)
        return local[..., 2] - surface, extent * extent * (3.0 - 2.0 * extent)


class CrackPatchDataset(Dataset[Batch]):
    """Patches of real bone with a crack, and of the same places without one.

    Parameters
    ----------
    scans : sequence of BoneScan
        Scans whose bone is cracked, each as often.
    count : int
        Number of cracks.
    settings : LevelViewSettings
        How views are compiled: window, size and thickness of pixels.
    seed : int
        Seed of the cracks; another one per epoch.
    is_augmented : bool
        Whether the gray values and the geometry of patches are augmented.
    """

    def __init__(
        self, scans: Sequence[BoneScan], count: int, settings: LevelViewSettings, seed: int, *, is_augmented: bool
    ) -> None:
        self.scans, self.count, self.settings = scans, count, settings
        self.seed, self.is_augmented = seed, is_augmented

    def __len__(self) -> int:
        """Return the number of cracks."""
        return self.count

    def __getitem__(self, number: int) -> Batch:
        """Return 8 patches of a crack and 8 of the same places without it, as `FracturePatchDataset` does."""
        rng = np.random.default_rng([self.seed, number])
        scan = self.scans[int(rng.integers(len(self.scans)))]
        for _ in range(_MAX_DRAWS):
            crack = Crack.draw(scan.places_lps[rng.integers(len(scan.places_lps))], rng)
            planes = rng.integers(len(PLANES), size=PATCHES_PER_FRACTURE)
            cracked, intact, cells = self._patches(scan, crack, planes, rng)
            if cells.any(axis=(1, 2)).sum() > len(planes) // 2:
                break
        images = np.concatenate([cracked, intact])
        cells = np.concatenate([cells, np.zeros_like(cells)])
        augmentation_seed = self.seed * 1_000_003 + number if self.is_augmented else None
        return patch_batch(images, cells, np.tile(planes, 2), augmentation_seed)

    def _patches(
        self, scan: BoneScan, crack: Crack, planes: npt.NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[Floats32, Floats32, Floats32]:
        """Return patches with and without a crack, (p, n, n) from 0 to 1, and fractured cells, (p, n / 4, n / 4)."""
        places = np.stack([self._plane_points(crack, int(plane), rng) for plane in planes])
        intact, moved, cracked = crack.apply(scan, places)
        before = np.where(rng.random((len(planes), 1, 1, 1)) < 0.5, intact, moved)
        sigma = (0, scan.blur_mm / self.settings.pixel_mm, scan.blur_mm / self.settings.pixel_mm)
        base = intact.mean(axis=1)  # over the thickness
        changes = [scipy.ndimage.gaussian_filter((hu - intact).mean(axis=1), sigma) for hu in (cracked, before)]
        # The smooth displacement is no fracture: what counts is what the crack does beyond it.
        visible = np.abs(changes[0]) > _VISIBLE_HU
        near = self._near_gap(crack, places)
        cells = _any_in_cells(visible & near)
        window = self.settings.window
        images = [np.clip((base + change - window.centre_hu) / window.width_hu + 0.5, 0, 1) for change in changes]
        return np.asarray(images[0], np.float32), np.asarray(images[1], np.float32), cells

    def _near_gap(self, crack: Crack, places: Floats) -> Bools:
        """Return the pixels, (p, n, n), whose middle layer lies within the gap of a crack or a pixel beside it."""
        distance, extent = crack.distance_mm(places[:, places.shape[1] // 2])
        width = 0.5 * crack.opening_mm * extent + self.settings.pixel_mm
        return np.asarray((np.abs(distance) < width) & (extent > 0.1))

    def _plane_points(self, crack: Crack, plane: int, rng: np.random.Generator) -> Floats:
        """Return the sampled points of a patch that shows a part of the crack, (layers, n, n, 3) in LPS mm."""
        size = patch_pixels(self.settings)
        in_crack = rng.normal(0, 0.3 * crack.radius_mm, 2)
        shift = draw_shift(rng, size) * self.settings.pixel_mm
        frame = scipy.spatial.transform.Rotation.from_rotvec(rng.normal(0, _TILT_SD_RAD, 3)).as_matrix()
        across, down, normal = _PLANE_AXES[PLANES[plane]] @ frame.T
        center = crack.center_lps + in_crack @ crack.axes[:2] + shift[0] * down + shift[1] * across
        steps = (np.arange(size) - (size - 1) / 2) * self.settings.pixel_mm
        count = max(round(self.settings.slab_mm / self.settings.pixel_mm), 1)
        layers = (np.arange(count) - (count - 1) / 2) * self.settings.slab_mm / count
        return np.asarray(
            center
            + layers[:, None, None, None] * normal
            + steps[None, :, None, None] * down
            + steps[None, None, :, None] * across
        )


_PLANE_AXES: Final = {
    "sagittal": np.array([[0.0, 1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]]),
    "coronal": np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]]),
    "axial": np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
}
"""Directions of columns, rows and normal of each orientation, as of `cspine.views.level_views`."""


def _any_in_cells(pixels: Bools) -> Floats32:
    """Return 1 for cells, (p, n / 4, n / 4), with at least two marked pixels, (p, n, n)."""
    side = pixels.shape[1] // CELL_PIXELS
    blocks = pixels.reshape(len(pixels), side, CELL_PIXELS, side, CELL_PIXELS)
    return np.asarray(blocks.sum(axis=(2, 4)) >= 2, np.float32)
