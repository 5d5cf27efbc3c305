"""Draws fractures: their types, widths, displacements and impaction."""

from dataclasses import replace
from typing import Final

import numpy as np

from cspine.core.anatomy import Level
from cspine.phantom.anatomy.person import Person
from cspine.phantom.fractures.fracture import Fracture, in_plane
from cspine.phantom.fractures.sites import BURST, JEFFERSON, Site, sites
from cspine.phantom.geometry.points import vector
from cspine.phantom.geometry.solids import SIDES
from cspine.phantom.settings import PhantomSettings

INCOMPLETE_FRACTION: Final = 0.35
"""Fraction of fractures that end within the bone."""

_SECOND_TYPE_FRACTION: Final = 0.2
"""Fraction of fractured vertebrae with fractures of two types."""

_MAX_LOST_FRACTION: Final = 0.7
"""Width of a gap where bone is lost, at most, relative to half the least side of the fracture's box: some of the
fragment is left."""

_IMPACTION_MM: Final = (0.8, 2.5)
"""Loss of height of fragments that may be impacted or not."""


def draw_fractures(
    level: Level,
    person: Person,
    settings: PhantomSettings,
    rng: np.random.Generator,
    *,
    fracture_type: str | None = None,
) -> tuple[Fracture, ...]:
    """Draw the fracture surfaces of a fractured vertebra: of one type, or sometimes of two.

    Parameters
    ----------
    level : str
        Name of the vertebra, C1 to C7.
    person : Person
        Whose measures place the fractures.
    settings : PhantomSettings
        Widths, displacements and the mix of types.
    rng : numpy Generator
        Random number generator; it is advanced.
    fracture_type : str, optional
        Draw one fracture of this type; see `sites`.

    Raises
    ------
    ValueError
        The level has no fractures of this type.
    """
    choices = sites(level, person)
    if fracture_type is not None:
        choices = tuple(site for site in choices if site.fracture_type == fracture_type)
        if not choices:
            raise ValueError(f"{level} has no fractures of type {fracture_type!r}")
        return _draw_fracture(choices[0], settings, rng)
    weights = np.array([site.proportion * settings.fracture_mix.get(site.fracture_type, 1.0) for site in choices])
    has_second = rng.random() < _SECOND_TYPE_FRACTION and np.count_nonzero(weights) > 1
    chosen = rng.choice(len(choices), size=1 + has_second, replace=False, p=weights / weights.sum())
    return tuple(surface for number in chosen.tolist() for surface in _draw_fracture(choices[number], settings, rng))


def _draw_fracture(site: Site, settings: PhantomSettings, rng: np.random.Generator) -> tuple[Fracture, ...]:
    """Draw a fracture of one type: one surface, or several."""
    first_side = 1.0 if site.center[0] == 0.0 else float(rng.choice(SIDES))
    is_impacted = site.is_impacted or bool(rng.random() < site.p_impacted)
    is_burst = site.fracture_type in {BURST, JEFFERSON}  # always complete
    is_incomplete = not is_impacted and not is_burst and bool(rng.random() < INCOMPLETE_FRACTION)
    site = replace(site, is_impacted=is_impacted)
    sides = (1.0, -1.0) if site.is_bilateral else (first_side,)
    surfaces = tuple(_draw_surface(site, side, settings, rng, is_incomplete=is_incomplete) for side in sides)
    is_plain = not is_impacted and not is_incomplete and not is_burst
    if settings.bone_loss_fraction and is_plain:
        own = rng.spawn(1)[0]  # so that all other phantoms of a seed stay as they were
        if own.random() < settings.bone_loss_fraction:
            return tuple(_lose_bone(surface, settings, own) for surface in surfaces)
    if site.fracture_type == BURST:
        return (*surfaces, *_burst_surfaces(surfaces[0], settings, rng))
    if site.fracture_type == JEFFERSON:
        return tuple(_spread_lateral_mass(surface, settings, rng) for surface in surfaces)
    return surfaces


def _lose_bone(surface: Fracture, settings: PhantomSettings, rng: np.random.Generator) -> Fracture:
    """Return a surface with a wide gap, between fragments that stay where they were."""
    width = min(float(rng.uniform(*settings.bone_loss_mm)), _MAX_LOST_FRACTION * float(surface.half_extent_mm.min()))
    return replace(surface, width_mm=width, translation_mm=np.zeros(3), rotation_rad=np.zeros(3), is_bone_lost=True)


def _spread_lateral_mass(surface: Fracture, settings: PhantomSettings, rng: np.random.Generator) -> Fracture:
    """Return a surface of a Jefferson fracture whose lateral mass is displaced outward as a rigid body."""
    distance = float(rng.uniform(0.25, 1.0)) * max(settings.displacement_mm[1], 1.0)
    shift = vector(float(np.sign(surface.center_mm[0])) * distance, 0.0, 0.0)
    return replace(
        surface,
        translation_mm=shift,
        half_extent_mm=surface.half_extent_mm + np.abs(shift),
        rotation_rad=np.zeros(3),
    )


def _burst_surfaces(split: Fracture, settings: PhantomSettings, rng: np.random.Generator) -> tuple[Fracture, ...]:
    """Return the other surfaces of a burst body: compression, and retropulsion of its posterior wall."""
    half = split.half_extent_mm
    retropulsion_mm = float(rng.uniform(0.5, 1.0)) * max(settings.displacement_mm[1], 1.0)
    posterior = replace(
        split,
        center_mm=split.center_mm + vector(0.0, 0.35 * half[1], 0.0),
        normal=np.array([0.0, 1.0, 0.0]),
        half_extent_mm=half * vector(0.55, 0.65, 0.9),
        translation_mm=np.array([0.0, retropulsion_mm, 0.0]),
        rotation_rad=np.zeros(3),
    )
    compressed = replace(
        split,
        center_mm=split.center_mm + vector(0.0, 0.0, 0.25 * half[2]),
        normal=np.array([0.0, 0.0, 1.0]),
        half_extent_mm=half + vector(2.0, 0.0, 3.0),
        width_mm=0.0,
        translation_mm=np.zeros(3),
        rotation_rad=np.zeros(3),
        height_loss_mm=float(rng.uniform(*settings.height_loss_mm)),
    )
    return posterior, compressed


def _draw_surface(
    site: Site, side: float, settings: PhantomSettings, rng: np.random.Generator, *, is_incomplete: bool
) -> Fracture:
    """Draw one fracture surface.

    Parameters
    ----------
    site : Site
        The site as it is defined for the left side.
    side : float
        1 for the left side, -1 for the right one.
    settings : PhantomSettings
        Ranges of width, displacement and loss of height.
    rng : numpy Generator
        Random number generator; it is advanced.
    is_incomplete : bool
        Whether the fracture ends within the bone, so that no fragment is displaced.
    """
    mirror = np.array([side, 1.0, 1.0])
    normal = np.asarray(site.normal) * mirror + rng.normal(0.0, 0.1, 3)
    normal /= np.linalg.norm(normal)
    half = np.asarray(site.half_extent_mm, float)
    low, high = np.log(settings.fracture_width_mm)
    width = float(np.exp(rng.uniform(low, high)))
    slide = rng.normal(0.0, 1.0, 3)
    slide -= (slide @ normal) * normal
    slide_mm = float(rng.uniform(*settings.displacement_mm)) * (0.0 if is_incomplete else rng.random())
    opening_mm = width * (0.0 if is_incomplete or site.is_impacted else 0.5)
    translation = slide / np.linalg.norm(slide) * slide_mm + normal * opening_mm
    rotation = rng.normal(0.0, np.radians(4.0), 3) * (slide_mm > 0)
    is_loose = site.is_loose and not is_incomplete
    if is_loose:
        half = half + np.abs(translation)  # the displaced fragment stays within the box
    gap_radius = float(half.min()) * rng.uniform(0.6, 1.0) if is_incomplete else float(np.linalg.norm(half)) * 2.0
    roughness = np.column_stack(
        [rng.uniform(0.1, 0.45, 4), rng.uniform(0.2, 1.8, 4), rng.uniform(0, 2 * np.pi, 4), rng.uniform(0, np.pi, 4)]
    )
    roughness[:, 0] *= np.minimum(0.5 / roughness[:, 1], 1.0)
    center = np.asarray(site.center) * mirror + rng.normal(0.0, 0.5, 3)
    if is_incomplete:  # off center, so that the fracture reaches the surface of the bone on one side
        across, up = in_plane(normal)
        angle = rng.uniform(0, 2 * np.pi)
        center = center + (np.cos(angle) * across + np.sin(angle) * up) * half.min() * 0.4
    height_loss = 0.0
    if site.is_impacted:
        limits = settings.height_loss_mm if site.p_impacted == 0.0 else _IMPACTION_MM
        height_loss, translation, rotation, width = float(rng.uniform(*limits)), np.zeros(3), np.zeros(3), 0.0
    return Fracture(
        fracture_type=site.fracture_type,
        center_mm=center,
        normal=normal,
        half_extent_mm=half,
        width_mm=width,
        gap_radius_mm=gap_radius,
        translation_mm=translation,
        rotation_rad=rotation,
        is_loose=is_loose,
        height_loss_mm=height_loss,
        roughness=roughness,
    )
