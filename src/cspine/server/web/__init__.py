"""HTTP: DICOMweb in and out, an API for programs, and pages for people."""
