"""Reports of findings and evaluations: HTML, Markdown, figures, FHIR, worklist, DICOM objects."""
