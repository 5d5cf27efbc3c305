"""The simulated CT scanner: rendering, artifacts, acquisition, DICOM."""
