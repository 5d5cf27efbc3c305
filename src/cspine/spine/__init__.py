"""Geometry of the spine without a network: spine map, centerline, bone trace, occupancy templates."""
