"""Folders and archives as lists of files: formats, limits, opened archives, listing."""
