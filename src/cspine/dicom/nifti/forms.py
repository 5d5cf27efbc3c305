"""The affine of a NIfTI file: sform or qform, and what to do where the two disagree.

The standard lets a file have both, for two coordinate systems. In practice a disagreement is mostly a fault of the
writer: one of the two was left at a default, or only one was changed when the volume was flipped.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from cspine.core.errors import DicomError
from cspine.core.typing import Floats
from cspine.dicom.limits import exceeds_mm
from cspine.dicom.nifti.files import nibabel_module

_RAS_TO_LPS: Final = np.diag([-1.0, -1.0, 1.0, 1.0])
_UNITS_MM: Final = {"mm": 1.0, "unknown": 1.0, "meter": 1000.0, "micron": 0.001}

_TEMPLATE_CODES: Final = frozenset({3, 4, 5})
"""Codes of the coordinates of a template (Talairach, MNI, other), in which lengths are not those of the patient."""

_MAX_DISTANCE_MM: Final = 1.0
"""Two forms whose corners lie closer are equal; the quaternions of a qform are single precision."""

_SIZE_TOLERANCE: Final = 0.02
"""Voxel sizes that differ by a smaller fraction are equal."""

_MAX_DEFAULT_MM: Final = 1e-3

_MIN_SIDE_MM, _MAX_SIDE_MM = 0.02, 50.0
"""Smallest and largest side of a voxel of a CT: dental and micro-CT are coarser, the thickest slabs thinner."""


@dataclass(frozen=True)
class ChosenAffine:
    """The affine by which a file is placed.

    Attributes
    ----------
    lps : (4, 4) float array
        Maps the file's indices to LPS mm.
    warnings : tuple of str
        A sentence where the file's forms contradict each other.
    """

    lps: Floats
    warnings: tuple[str, ...] = ()


def choose_affine(name: str, image: Any) -> ChosenAffine:  # noqa: ANN401 - nibabel has no types
    """Return the affine of a NIfTI file.

    Parameters
    ----------
    name : str
        The file's name in error messages.
    image : nibabel image
        The file as nibabel opened it.

    Returns
    -------
    ChosenAffine

    Raises
    ------
    DicomError
        No form places the image, or two forms disagree and neither is certainly wrong.
    """
    header = image.header
    codes = {"sform": int(header["sform_code"]), "qform": int(header["qform_code"])}
    if max(codes.values()) <= 0:
        raise DicomError(f"{name}: has neither sform nor qform, so nothing places it in space; export it again")
    valid = _valid_forms(header, codes)
    if not valid:
        raise DicomError(f"{name}: its affine does not place it in space; export it again")
    unit_mm = _check_unit_mm(name, header.get_xyzt_units()[0], valid)
    forms = {form: np.diag([unit_mm, unit_mm, unit_mm, 1.0]) @ affine for form, affine in valid.items()}
    shape = [int(count) for count in image.shape[:3]]
    if len(forms) == 1:
        chosen, warnings = _check_only(name, header, codes, forms, unit_mm)
    elif _farthest_corner_mm(forms["sform"], forms["qform"], shape) <= _MAX_DISTANCE_MM:
        chosen, warnings = "sform", ()
    else:
        chosen, warnings = _settle(name, forms, codes, _farthest_corner_mm(forms["sform"], forms["qform"], shape))
    return ChosenAffine(_RAS_TO_LPS @ forms[chosen], warnings)


def _check_unit_mm(name: str, unit: str, forms: dict[str, Floats]) -> float:
    """Return the header's unit of length in mm, where it makes voxels of a CT."""
    sides = np.concatenate([_sides_mm(affine) for affine in forms.values()])

    def is_ct(unit_mm: float) -> bool:
        lengths_mm = (sides * unit_mm).tolist()
        return not any(exceeds_mm(_MIN_SIDE_MM, each) or exceeds_mm(each, _MAX_SIDE_MM) for each in lengths_mm)

    unit_mm = _UNITS_MM.get(unit, 1.0)
    if is_ct(unit_mm):
        return unit_mm
    sizes = " x ".join(f"{side:.3g}" for side in (sides[:3] * unit_mm).tolist())
    if unit_mm != 1.0 and is_ct(1.0):
        raise DicomError(
            f"{name}: its unit of length is the {unit}, by which its voxels are {sizes} mm; set its xyzt_units to mm "
            "if its affine is in mm"
        )
    raise DicomError(f"{name}: its voxels are {sizes} mm by its affine, which no CT has; export it again")


def _valid_forms(header: Any, codes: dict[str, int]) -> dict[str, Floats]:  # noqa: ANN401 - nibabel has no types
    """Return the affines, in the file's unit, of the forms that are set and place an image."""
    forms = {}
    for form, read in (("sform", header.get_sform), ("qform", header.get_qform)):
        if codes[form] <= 0:
            continue
        try:
            affine = np.asarray(read(), dtype=np.float64)
        except Exception:  # noqa: BLE001, S112 - nibabel raises errors of any type on quaternions that are none
            continue
        if np.all(np.isfinite(affine)) and abs(np.linalg.det(affine[:3, :3])) > 0.0:
            forms[form] = affine
    return forms


def _check_only(
    name: str,
    header: Any,  # noqa: ANN401 - nibabel has no types
    codes: dict[str, int],
    forms: dict[str, Floats],
    unit_mm: float,
) -> tuple[str, tuple[str, ...]]:
    """Check the only form that places an image against the voxel sizes that the header has beside it."""
    (form,) = forms
    warnings: tuple[str, ...] = ()
    if min(codes.values()) > 0:
        other = "qform" if form == "sform" else "sform"
        warnings = (f"{name}: its {other} places it nowhere; its {form} was used",)
    declared = np.abs(np.asarray(header["pixdim"][1:4], dtype=np.float64)) * unit_mm
    is_declared = bool(np.all(np.isfinite(declared)) and np.all(declared > 0.0)) and not np.allclose(declared, 1.0)
    if not is_declared or _is_same_size(declared, _sides_mm(forms[form])):
        return form, warnings
    sizes = f"voxels of {_describe(_sides_mm(forms[form]))} mm by its {form} and of {_describe(declared)} mm by pixdim"
    if _is_default(forms[form]):
        raise DicomError(f"{name}: has {sizes}, and its {form} is a default; export it again with its affine")
    return form, (*warnings, f"{name}: has {sizes}; the {form} was used")


def _settle(
    name: str, forms: dict[str, Floats], codes: dict[str, int], distance_mm: float
) -> tuple[str, tuple[str, ...]]:
    """Return which of two forms that disagree is used, with a warning."""
    for form, other in (("sform", "qform"), ("qform", "sform")):
        if _is_default(forms[form]) and not _is_default(forms[other]):
            return other, (f"{name}: sform and qform disagree; its {form} is a default, so its {other} was used",)
    if codes["sform"] in _TEMPLATE_CODES and codes["qform"] not in _TEMPLATE_CODES:
        return "qform", (f"{name}: its sform places it in a template; its qform, of the scanner, was used",)
    sides = {form: _sides_mm(affine) for form, affine in forms.items()}
    if not _is_same_size(sides["sform"], sides["qform"]):
        raise DicomError(
            f"{name}: has voxels of {_describe(sides['sform'])} mm by its sform and of {_describe(sides['qform'])} mm "
            "by its qform; export it again with one affine"
        )
    axes = nibabel_module().aff2axcodes
    sform, qform = "".join(axes(forms["sform"])), "".join(axes(forms["qform"]))
    if sform == qform:
        return "sform", (f"{name}: sform and qform place it {distance_mm:.0f} mm apart; its sform was used",)
    if sform.translate(str.maketrans("L", "R")) == qform.translate(str.maketrans("L", "R")):
        return "sform", (
            f"{name}: sform and qform mirror it left to right; its sform was used, so sides may be wrong: compare them "
            "with the original",
        )
    raise DicomError(
        f"{name}: its sform and qform disagree about its directions ({sform} and {qform}); export it again with one "
        "affine"
    )


def _sides_mm(affine: Floats) -> Floats:
    return np.asarray(np.linalg.norm(affine[:3, :3], axis=0))


def _is_same_size(one: Floats, other: Floats) -> bool:
    return bool(np.all(np.abs(one - other) <= _SIZE_TOLERANCE * np.maximum(one, other)))


def _is_default(affine: Floats) -> bool:
    """Return whether an affine is the identity, up to the directions of its axes and a shift to the middle."""
    return bool(np.abs(np.abs(affine[:3, :3]) - np.eye(3)).max() < _MAX_DEFAULT_MM)


def _farthest_corner_mm(one: Floats, other: Floats, shape: list[int]) -> float:
    """Return the largest distance between the places that two affines give to a corner of the array."""
    corners = np.stack(np.meshgrid(*[[0.0, count - 1.0] for count in shape], indexing="ij")).reshape(3, -1)
    apart = (one - other) @ np.vstack([corners, np.ones(corners.shape[1])])
    return float(np.linalg.norm(apart[:3], axis=0).max())


def _describe(sides_mm: Floats) -> str:
    return " x ".join(f"{side:.2f}" for side in sides_mm.tolist())
