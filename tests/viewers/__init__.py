"""Viewers that are no part of this project, and what they show of the DICOM objects."""
