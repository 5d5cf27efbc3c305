"""Layouts of data sets: which file is which study's image, mask and label."""
