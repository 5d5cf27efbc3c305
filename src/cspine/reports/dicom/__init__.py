"""Findings as DICOM objects that a PACS takes: structured report, segmentations, captures, key images."""
