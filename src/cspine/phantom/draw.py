"""A study before it is scanned: who, how broken, on which scanner."""

from cspine.phantom.fracture import Crack, draw_cracks
from cspine.phantom.labels import draw_levels
from cspine.phantom.neck import Neck, draw_neck
from cspine.phantom.scanner import Scanner, draw_scanner
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
    levels = draw_levels(rng, settings.prevalence, settings.further_levels)
    neck = draw_neck(rng, age_years=settings.age_years, spread=settings.spread, posture=settings.posture)
    cracks: dict[str, tuple[Crack, ...]] = {level: draw_cracks(level, neck.person, settings, rng) for level in levels}
    scanner = draw_scanner(neck, settings, rng)
    return neck.broken(cracks), scanner
