"""Reports on findings and evaluations: HTML, Markdown, figures, worklist, FHIR and DICOM objects."""
