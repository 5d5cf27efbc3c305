"""Findings as FHIR: a Bundle of R5, after HL7's mapping of DICOM structured reports, or of R4 by choice."""

from cspine.reports.fhir.bundle import fhir_bundle, write_fhir

__all__ = ["fhir_bundle", "write_fhir"]
