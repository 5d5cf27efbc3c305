"""The DICOM node: C-ECHO, C-STORE and storage commitment, with the limits that pynetdicom leaves to its user."""
