"""The simulated CT scanner: rendering, artefacts, acquisition, DICOM."""
