"""Fracture classification: level classifier, baseline, saliency."""
