"""Draws a body and its scan."""

import numpy as np

from cspine.phantom.body.body import Body, draw_anatomy
from cspine.phantom.body.scan import BodyScan, draw_scan
from cspine.phantom.body.settings import BodySettings, ScanKind, body_stream


def draw_body(seed: int, index: int, settings: BodySettings) -> tuple[Body, BodyScan]:
    """Draw a body and a scan of it.

    Parameters
    ----------
    seed : int
        Seed of the data set.
    index : int
        Index of the phantom.
    settings : BodySettings
        Distributions to draw from, such as those of `BODY_DOMAINS`.

    Examples
    --------
    >>> from cspine.phantom.body.settings import BODY_DOMAINS
    >>> body, scan = draw_body(1, 2, BODY_DOMAINS["source"])
    >>> body.levels[:3], body.levels[-2:], scan.kind in BODY_DOMAINS["source"].kinds
    (('C1', 'C2', 'C3'), ('L5', 'S1'), True)
    """
    rng = body_stream(seed, index, settings)
    kind = draw_kind(rng, settings)
    body = draw_anatomy(rng, settings, kind)
    return body, draw_scan(body, kind, settings, rng)


def draw_kind(rng: np.random.Generator, settings: BodySettings) -> ScanKind:
    """Draw the kind of a scan."""
    kinds, weights = list(settings.kinds), np.array(list(settings.kinds.values()))
    return kinds[int(rng.choice(len(kinds), p=weights / weights.sum()))]
