"""Draws the neck, the fractures and the scanner of a study."""

from cspine.phantom.anatomy.neck import Neck, draw_neck
from cspine.phantom.fractures.fracture import Fracture
from cspine.phantom.fractures.prevalence import draw_levels
from cspine.phantom.fractures.sampling import draw_fractures
from cspine.phantom.scanner.scanner import Scanner, draw_scanner
from cspine.phantom.settings import PhantomSettings, random_stream


def draw_fractured_neck(seed: int, index: int, settings: PhantomSettings) -> tuple[Neck, Scanner]:
    """Draw the neck of a study, with its fractures if any, and the scanner.

    Parameters
    ----------
    seed, index, settings
        As of `cspine.phantom.study.render_study`.
    """
    rng = random_stream(seed, index, settings)
    levels = draw_levels(rng, settings.prevalence, settings.p_additional_fracture)
    neck = draw_neck(
        rng,
        age_years=settings.age_years,
        morphometry_sd_factor=settings.morphometry_sd_factor,
        posture_sd_factor=settings.posture_sd_factor,
    )
    fractures: dict[str, tuple[Fracture, ...]] = {
        level: draw_fractures(level, neck.person, settings, rng) for level in levels
    }
    scanner = draw_scanner(neck, settings, rng)
    return neck.with_fractures(fractures), scanner
