"""Importers: labels and masks of other people's data sets in one form of truth."""
