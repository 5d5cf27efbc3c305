"""Fractures of the procedural neck: displacement fields, prevalence, coverage by the scan."""
