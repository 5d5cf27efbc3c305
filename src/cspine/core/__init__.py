"""Foundations: anatomy, errors, findings, files, settings, progress, parallel work, logging."""
