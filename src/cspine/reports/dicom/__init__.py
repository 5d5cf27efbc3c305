"""Findings as DICOM objects for a PACS: structured report, segmentations, secondary captures, key images."""
