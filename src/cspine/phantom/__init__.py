"""Procedural CT of the neck with fractures and exact truth.

A phantom shows that the machinery works and compares methods; it is never clinical accuracy.
"""

from cspine.phantom.crops import Crop, render_coarse, render_vertebrae
from cspine.phantom.dataset import SynthSummary, synthesize
from cspine.phantom.fracture import draw_cracks
from cspine.phantom.neck import draw_neck
from cspine.phantom.scanner import acquire, draw_scanner
from cspine.phantom.settings import DOMAINS, PhantomSettings
from cspine.phantom.study import PhantomStudy, render_study

__all__ = [
    "DOMAINS",
    "Crop",
    "PhantomSettings",
    "PhantomStudy",
    "SynthSummary",
    "acquire",
    "draw_cracks",
    "draw_neck",
    "draw_scanner",
    "render_coarse",
    "render_study",
    "render_vertebrae",
    "synthesize",
]
