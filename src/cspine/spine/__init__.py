"""Geometry of the spine: the map of vertebrae, the centerline, the bone trace; no network."""
