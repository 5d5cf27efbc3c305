"""Procedural CT of the neck with fractures and exact truth.

A phantom shows that the machinery works and compares methods; it is never clinical accuracy.
"""

from cspine.phantom.dataset import SynthSummary, synthesize
from cspine.phantom.scanner import PhantomStudy, render_study
from cspine.phantom.settings import PhantomSettings

__all__ = ["PhantomSettings", "PhantomStudy", "SynthSummary", "render_study", "synthesize"]
