"""De-identification of CT images by the Basic Application Level Confidentiality Profile of DICOM PS3.15."""
