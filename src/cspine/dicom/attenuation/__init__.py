"""Attenuation: whether decoded values are Hounsfield units, by their histogram, and the correction of other ones."""
