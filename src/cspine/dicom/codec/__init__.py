"""Byte-level DICOM headers and compressed frames; no module outside of `cspine.dicom` needs them."""
