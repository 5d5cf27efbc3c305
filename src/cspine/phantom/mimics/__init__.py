"""Findings that mimic fractures, with names and places in the truth: scars, canals, cysts, worn joints, vessels."""
