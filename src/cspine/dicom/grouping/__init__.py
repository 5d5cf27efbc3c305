"""Grouping of images into studies and series: one patient, one acquisition, one reconstruction."""
