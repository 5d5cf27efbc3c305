"""Procedural CT of the cervical spine with fractures and an exact reference standard.

Phantoms test that the software works and compare methods; results on them are no measure of clinical accuracy.
"""

from cspine.phantom.anatomy.neck import draw_neck
from cspine.phantom.dataset import SynthSummary, synthesize
from cspine.phantom.fractures.sampling import draw_fractures
from cspine.phantom.scanner.acquisition import acquire
from cspine.phantom.scanner.scanner import draw_scanner
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
