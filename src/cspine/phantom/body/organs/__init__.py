"""Organs of a body by region, and its vessels."""
