"""Byte-level DICOM headers and compressed frames; nothing outside of `cspine.dicom` needs it."""
