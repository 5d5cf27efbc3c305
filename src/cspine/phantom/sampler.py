"""Draws the neck, the fractures, the mimics and the scanner of a study."""

from dataclasses import replace
from typing import Final

from cspine.phantom.anatomy.neck import Neck, draw_neck
from cspine.phantom.disorders.disorders import draw_disorders
from cspine.phantom.disorders.remodelling import draw_remodelled_bodies
from cspine.phantom.fractures.fracture import Fracture
from cspine.phantom.fractures.prevalence import draw_levels
from cspine.phantom.fractures.sampling import draw_fractures
from cspine.phantom.mimics.change import add_mimics
from cspine.phantom.mimics.sampling import draw_mimics
from cspine.phantom.scanner.reconstruction import draw_technique
from cspine.phantom.scanner.scanner import Scanner, draw_scanner
from cspine.phantom.settings import PhantomSettings, random_stream

_DISORDERS: Final = 10
_TECHNIQUE: Final = 11
_MIMICS: Final = 12
_REMODELLING: Final = 13
"""Purposes of random streams of their own, so that what one draws does not change the others."""


def draw_fractured_neck(seed: int, index: int, settings: PhantomSettings) -> tuple[Neck, Scanner]:
    """Draw the neck of a study, with its fractures if any, and the scanner.

    Parameters
    ----------
    seed, index, settings
        As of `cspine.phantom.study.render_study`.
    """
    rng = random_stream(seed, index, settings)
    levels = draw_levels(rng, settings.prevalence, settings.p_additional_fracture)
    disorders = draw_disorders(random_stream(seed, index, settings, _DISORDERS), settings.disorders).sparing(levels)
    # Not one of `DisorderSettings`: one more there would change all others that are drawn.
    remodelling_rng = random_stream(seed, index, settings, _REMODELLING)
    if remodelling_rng.random() < settings.remodelled_fraction:
        disorders = disorders.with_remodelled(draw_remodelled_bodies(remodelling_rng), levels)
    neck = draw_neck(
        rng,
        age_years=settings.age_years,
        morphometry_sd_factor=settings.morphometry_sd_factor,
        posture_sd_factor=settings.posture_sd_factor,
        changes=disorders if disorders.disorders else None,
    )
    neck = replace(neck, variants=neck.variants.sparing(levels))
    fractures: dict[str, tuple[Fracture, ...]] = {
        level: draw_fractures(level, neck.person, settings, rng) for level in levels
    }
    technique, reconstruction = draw_technique(settings, random_stream(seed, index, settings, _TECHNIQUE))
    scanner = replace(draw_scanner(neck, technique, rng), reconstruction=reconstruction)
    mimics_rng = random_stream(seed, index, settings, _MIMICS)
    scanner = replace(scanner, bone_contrast=float(mimics_rng.uniform(*settings.bone_contrast)))
    neck = _with_bone_contrast(neck, scanner.bone_contrast).with_fractures(fractures)
    return add_mimics(neck, draw_mimics(neck, settings.mimics, mimics_rng)), scanner


def _with_bone_contrast(neck: Neck, factor: float) -> Neck:
    """Return a neck whose bone has its HU multiplied by a factor, as by another tube voltage."""
    bone = neck.person.bone
    bone = replace(bone, cortex_hu=bone.cortex_hu * factor, trabecular_hu=bone.trabecular_hu * factor)
    return replace(neck, person=replace(neck.person, bone=bone))
