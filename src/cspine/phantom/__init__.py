"""Procedural CT of the neck with fractures and exact truth.

A phantom shows that the machinery works and compares methods; it is never clinical accuracy.
"""

from cspine.phantom.anatomy.neck import draw_neck
from cspine.phantom.dataset import SynthSummary, synthesize
from cspine.phantom.fractures.fracture import draw_fractures
from cspine.phantom.scanner.scanner import acquire, draw_scanner
from cspine.phantom.settings import DOMAINS, PhantomSettings
from cspine.phantom.study import PhantomStudy, render_study
from cspine.phantom.training_crops import Crop, render_coarse, render_vertebrae

__all__ = [
    "DOMAINS",
    "Crop",
    "PhantomSettings",
    "PhantomStudy",
    "SynthSummary",
    "acquire",
    "draw_fractures",
    "draw_neck",
    "draw_scanner",
    "render_coarse",
    "render_study",
    "render_vertebrae",
    "synthesize",
]
