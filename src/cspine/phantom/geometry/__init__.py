"""Implicit-surface modeling: points, grids, and solids as signed distance fields."""
