"""Byte-level DICOM headers and compressed frames: how files are parsed and decoded."""
