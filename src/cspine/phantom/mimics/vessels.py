"""Contrast medium: arteries and veins that are as dense as trabecular bone, and lie beside it."""

from collections.abc import Iterator

import numpy as np

from cspine.core.typing import Floats
from cspine.phantom.anatomy.head import HardTissue
from cspine.phantom.anatomy.neck import Neck
from cspine.phantom.anatomy.subaxial import SUBAXIAL, landmarks_of
from cspine.phantom.geometry.parts import rods
from cspine.phantom.geometry.points import vector
from cspine.phantom.geometry.solids import SIDES
from cspine.phantom.mimics.change import MimicChange

_THIN_MM = 0.3


def _vertebral_path(neck: Neck, side: float, rng: np.random.Generator) -> list[Floats]:
    """Draw the course of a vertebral artery through the foramina and over the arch of the atlas, in LPS."""
    frames, measures = neck.frames, neck.person.measures
    path = [frames["T1"].to_lps([side * rng.uniform(14.0, 20.0), -4.0, 0.0])]
    for level in ("C6", "C5", "C4", "C3"):
        x = measures[level]["body width"] / 2 + 3.4 + rng.normal(0, 0.4)
        path.append(frames[level].to_lps([side * x, 1.2 + rng.normal(0, 0.4), 0.0]))
    path += [frames["C2"].to_lps([side * 20.3, 3.4, -10.0]), frames["C2"].to_lps([side * 22.6, 3.4, 6.5])]
    path += [frames["C1"].to_lps([side * 26.2, 3.6, 0.0]), frames["C1"].to_lps([side * 25.0, 8.0, 7.0])]
    path += [frames["C1"].to_lps([side * 17.0, 15.0, 7.0]), frames["C1"].to_lps([side * 9.0, 12.0, 14.0])]
    path.append(frames["C0"].to_lps([side * 3.0, 2.0, 28.0]))
    return path


def contrast_medium(neck: Neck, rng: np.random.Generator) -> Iterator[MimicChange]:
    """Draw contrast medium in the arteries, and mostly less of it in the veins."""
    arteries, veins = float(rng.uniform(250.0, 520.0)), float(rng.uniform(60.0, 380.0))
    tissues = []
    dominance = rng.uniform(-0.5, 0.5)
    for side in SIDES:
        radius = 1.75 * (1.0 + side * dominance)
        parts = rods(_vertebral_path(neck, side, rng), radius)
        tissues.append(HardTissue(parts, _THIN_MM, arteries, arteries))
        for x, y, size, hu in ((24.0, 9.0, rng.uniform(2.6, 4.0), arteries), (31.0, 5.0, rng.uniform(3.5, 7.5), veins)):
            course = []
            for level, shift in (("T2", -8.0), ("C6", 0.0), ("C4", 0.0), ("C1", 3.0)):
                front = landmarks_of(neck.person, level).body_back_y if level != "C1" else 15.0
                course.append(neck.frames[level].center_mm + vector(side * (x + shift), -front - y, 0.0))
            tissues.append(HardTissue(rods(course, size), _THIN_MM, hu, hu))
    points = {level: neck.person.measures[level]["body width"] / 2 + 3.4 for level in SUBAXIAL[:-1]}
    points |= {"C1": 26.2, "C2": 21.4}
    for number, level in enumerate(("C1", "C2", *SUBAXIAL[:-1])):
        where = tuple(vector(side * points[level], 2.0, 0.0) for side in SIDES)
        owned = tuple(tissues) if number == 0 else ()  # vessels run along all levels; the first one draws them
        yield MimicChange(name="contrast medium", level=level, points_mm=where, hard_tissues=owned)
