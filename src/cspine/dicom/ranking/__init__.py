"""Ranking of the readable series of a study by their headers."""
