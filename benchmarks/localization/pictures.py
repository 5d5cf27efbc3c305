"""Pictures of real scans with the frames of the localizer: sagittal at the left, coronal at the right."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

import highdicom
import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from benchmarks.localization.prediction import NamedVertebra, Prediction
from benchmarks.localization.real import RealRun, case_truth, read_cases
from benchmarks.localization.scans import REAL_SCANS
from benchmarks.localization.scoring import score
from benchmarks.localization.truth import ScanTruth
from benchmarks.localization.variants import AS_IS, CORD
from cspine.core.anatomy import color_of
from cspine.core.files import write_bytes
from cspine.core.typing import Floats, Grays
from cspine.reports.images.drawing import label_font

MAX_BYTES: Final = 60_000
"""Largest size of a picture's file."""

_HALF_WIDTH_MM: Final = 65.0
_MAX_HEIGHT_MM: Final = 330.0
_BELOW_MM: Final = 30.0
_ABOVE_MM: Final = 60.0
_PIXEL_MM: Final = 0.5
_MAX_PIXELS: Final = 480
_SLAB_MM: Final = (-1.5, 0.0, 1.5)
_WINDOW_HU: Final = (-250.0, 1000.0)
_AIR_HU: Final = -1000

_HEADER_HEIGHT: Final = 34
_AXIS_MM: Final = 9.0
_CIRCLE_PIXELS: Final = 5
_WRONG: Final = "#ff4040"
_READER: Final = "#ffffff"
_QUALITIES: Final = (85, 78, 70, 60, 50)

_SAGITTAL, _CORONAL = 1, 0
"""The axis of LPS that lies across each plane."""


@dataclass(frozen=True)
class _Plane:
    """A reformatted plane that follows the spine.

    Attributes
    ----------
    across : int
        Axis of LPS from left to right of the picture: 1 (y) of sagittal planes, 0 (x) of coronal ones.
    low_mm, high_z_mm, pixel_mm : float
        Coordinate of the left border along that axis, the z of the upper border, and the size of a pixel.
    image : (rows, columns) uint8
        Gray values.
    """

    across: int
    low_mm: float
    high_z_mm: float
    pixel_mm: float
    image: Grays

    def pixels_of(self, lps_mm: Floats) -> tuple[float, float]:
        """Return column and row of a point, projected onto the plane."""
        column = (lps_mm[self.across] - self.low_mm) / self.pixel_mm
        return float(column), float((self.high_z_mm - lps_mm[2]) / self.pixel_mm)


def write_pictures(run: RealRun, folder: Path) -> list[Path]:
    """Draw every scan of a run as published, and return the files.

    Parameters
    ----------
    run : RealRun
        A finished run on real CT.
    folder : Path
        Folder for one JPEG per scan.
    """
    paths = []
    for scan in REAL_SCANS:
        case = read_cases(run, scan).get(AS_IS.name)
        if case is None or case.geometry is None:
            continue
        truth = case_truth(run, scan, AS_IS.name, case)
        picture = draw_prediction(
            scan.load(run.real, run.load_localizer(scan)), case.prediction, truth, title=scan.name
        )
        paths.append(folder / f"{scan.name}.jpg")
        write_bytes(paths[-1], encode_small(picture))
    return paths


def encode_small(picture: Image.Image) -> bytes:
    """Return a picture as JPEG of the highest quality that takes at most `MAX_BYTES`."""
    data = b""
    for quality in _QUALITIES:
        buffer = BytesIO()
        picture.save(buffer, "JPEG", quality=quality, optimize=True)
        data = buffer.getvalue()
        if len(data) <= MAX_BYTES:
            break
    return data


def draw_prediction(volume: highdicom.Volume, prediction: Prediction, truth: ScanTruth, *, title: str) -> Image.Image:
    """Draw a sagittal and a coronal plane through the spine, with what the localizer states and what a reader sees.

    Each named vertebra has its origin, its axes, its level and the confidence of the level, in red and with an x where
    the name is wrong; the reader's origins are white circles.

    Parameters
    ----------
    volume : highdicom.Volume
        The scan.
    prediction : Prediction
        What the localizer states.
    truth : ScanTruth
        What the scan shows.
    title : str
        First line of the picture.
    """
    readers = [each.point_lps_mm for each in (truth.vertebrae or {}).values() if each.point_lps_mm is not None]
    path = _spine_path(readers or [np.array(each.origin_lps_mm) for each in prediction.vertebrae], volume, truth)
    planes = [_reformat(volume, path, across) for across in (_SAGITTAL, _CORONAL)]
    height = max(plane.image.shape[0] for plane in planes)
    width = planes[0].image.shape[1]
    picture = Image.new("RGB", (2 * width + 2, height + _HEADER_HEIGHT), "black")
    pen = ImageDraw.Draw(picture)
    is_wrong = {level.level: level.is_named and not level.is_name_right for level in
                score(title, "", prediction, truth).levels}  # fmt: skip
    for number, plane in enumerate(planes):
        corner = np.array([number * (width + 2), _HEADER_HEIGHT])
        picture.paste(Image.fromarray(plane.image).convert("RGB"), tuple(corner.tolist()))
        for point in readers:
            _draw_circle(pen, corner + plane.pixels_of(point), plane.image.shape, corner)
        for vertebra in prediction.vertebrae:
            _draw_vertebra(pen, vertebra, plane, corner, is_wrong=is_wrong.get(vertebra.level, False))
    pen.text((4, 1), title, "white", label_font(13))
    pen.text((4, 17), _statement(prediction), "white", label_font(12))
    return picture


def _statement(prediction: Prediction) -> str:
    """Return what the localizer states about the whole scan."""
    if prediction.refusal:
        return f"not assessable: {prediction.refusal}"
    parts = ["level-uncertain"] if prediction.doubts else []
    if prediction.not_found:
        parts.append(f"not found: {', '.join(prediction.not_found)}")
    return "; ".join(parts) or f"{len(prediction.cervical)} cervical levels named"


def _spine_path(points: Sequence[Floats], volume: highdicom.Volume, truth: ScanTruth) -> Floats:
    """Return the course of the spine as points in LPS, from below to above, (n, 3)."""
    cord = truth.landmarks().get(CORD)
    path = np.array(points) if points else (_bone_center(volume) if cord is None else cord)[None]
    return np.asarray(path[np.argsort(path[:, 2])])


def _bone_center(volume: highdicom.Volume) -> Floats:
    """Return the centroid of dense bone, in LPS mm; the middle of the volume where there is none."""
    bone = np.argwhere(np.asarray(volume.array)[::2, ::4, ::4] > 300) * (2, 4, 4)
    index = bone.mean(axis=0) if len(bone) else np.array(volume.spatial_shape) / 2
    return np.asarray((volume.affine @ [*index, 1.0])[:3])


def _reformat(volume: highdicom.Volume, path: Floats, across: int) -> _Plane:
    """Return the plane through a path: each row lies at the path's depth of its height."""
    corners = np.array([[k, j, i, 1] for k in (0, 1) for j in (0, 1) for i in (0, 1)], float)
    corners[:, :3] = corners[:, :3] * (np.array(volume.spatial_shape)) - 0.5
    lps = (corners @ volume.affine.T)[:, :3]
    low, high = lps.min(axis=0), lps.max(axis=0)
    if len(path) > 1:  # of a spine, what lies about it
        low[2] = max(low[2], path[0, 2] - _BELOW_MM)
        high[2] = min(high[2], path[-1, 2] + _ABOVE_MM)
    middle_z = float(np.clip(path[:, 2].mean(), low[2], high[2]))
    high_z = min(float(high[2]), max(middle_z + _MAX_HEIGHT_MM / 2, float(low[2]) + _MAX_HEIGHT_MM))
    low_z = max(float(low[2]), high_z - _MAX_HEIGHT_MM)
    pixel = max(_PIXEL_MM, (high_z - low_z) / _MAX_PIXELS)
    z = np.arange(high_z - pixel / 2, low_z, -pixel)
    depth_axis = 1 - across
    depth = np.interp(z, path[:, 2], path[:, depth_axis])
    middle = float(path[:, across].min() + path[:, across].max()) / 2
    along = np.arange(middle - _HALF_WIDTH_MM + pixel / 2, middle + _HALF_WIDTH_MM, pixel)
    points = np.empty((len(z), len(along), 3))
    points[..., across], points[..., 2] = along, z[:, None]
    inverse, hu = np.linalg.inv(volume.affine), np.zeros(points.shape[:2])
    for offset in _SLAB_MM:
        points[..., depth_axis] = depth[:, None] + offset
        index = np.moveaxis(points @ inverse[:3, :3].T + inverse[:3, 3], -1, 0)
        hu += ndimage.map_coordinates(volume.array, index, np.float64, order=1, cval=_AIR_HU) / len(_SLAB_MM)
    bottom, top = _WINDOW_HU
    gray = np.clip((hu - bottom) / (top - bottom) * 255, 0, 255).astype(np.uint8)
    return _Plane(across, middle - _HALF_WIDTH_MM, high_z, pixel, gray)


def _draw_circle(pen: ImageDraw.ImageDraw, at: Floats, shape: tuple[int, ...], corner: Floats) -> None:
    x, y = at.tolist()
    if 0 <= x - corner[0] < shape[1] and 0 <= y - corner[1] < shape[0]:
        radius = _CIRCLE_PIXELS
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), outline=_READER)


def _draw_vertebra(
    pen: ImageDraw.ImageDraw, vertebra: NamedVertebra, plane: _Plane, corner: Floats, *, is_wrong: bool
) -> None:
    """Draw origin, axes and name of a vertebra: to the back and up in sagittal planes, to the left and up in others."""
    origin, color = np.array(vertebra.origin_lps_mm), color_of(vertebra.level)
    x, y = (corner + plane.pixels_of(origin)).tolist()
    for axis in (np.array(vertebra.axes_lps[plane.across]), np.array(vertebra.axes_lps[2])):
        end = (corner + plane.pixels_of(origin + _AXIS_MM * axis)).tolist()
        pen.line([(x, y), tuple(end)], color, 2)
    pen.ellipse((x - 2, y - 2, x + 2, y + 2), fill=color)
    notes = " cut" * (vertebra.coverage == "partial") + " x" * is_wrong
    level = "/".join((vertebra.level, *vertebra.alternatives))
    text = f"{level} {vertebra.confidence:.2f}{notes}"
    label_x = corner[0] + (6 if plane.across == _SAGITTAL else plane.image.shape[1] - 6)
    anchor = "lm" if plane.across == _SAGITTAL else "rm"
    pen.text((float(label_x), y), text, _WRONG if is_wrong else color, label_font(13), anchor=anchor,
             stroke_width=2, stroke_fill="black")  # fmt: skip
