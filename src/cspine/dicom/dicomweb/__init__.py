"""Studies of a DICOMweb archive: found by QIDO-RS, described by their metadata, fetched by WADO-RS."""
