"""Fractures of the procedural neck: types, displacement fields, prevalence, coverage by the scan."""
