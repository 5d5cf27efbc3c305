"""Crash test of the server: what was acknowledged under load and faults is neither lost nor answered twice."""
