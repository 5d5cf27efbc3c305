"""A study before it is scanned: who, how broken, on which scanner."""

from cspine.phantom.anatomy.neck import Neck, draw_neck
from cspine.phantom.fractures.fracture import Fracture, draw_fractures
from cspine.phantom.fractures.prevalence import draw_levels
from cspine.phantom.scanner.scanner import Scanner, draw_scanner
from cspine.phantom.settings import PhantomSettings, stream


def draw_broken_neck(seed: int, index: int, settings: PhantomSettings) -> tuple[Neck, Scanner]:
    """Draw the neck, with its fractures, and the scanner of a study; the same for the same arguments.

    Parameters
    ----------
    seed, index : int
        Which study.
    settings : PhantomSettings
        Ranges to draw from.
    """
    rng = stream(seed, index, settings)
    levels = draw_levels(rng, settings.prevalence, settings.p_additional_fracture)
    neck = draw_neck(
        rng,
        age_years=settings.age_years,
        morphometry_sd_factor=settings.morphometry_sd_factor,
        posture=settings.posture,
    )
    fractures: dict[str, tuple[Fracture, ...]] = {
        level: draw_fractures(level, neck.person, settings, rng) for level in levels
    }
    scanner = draw_scanner(neck, settings, rng)
    return neck.broken(fractures), scanner
