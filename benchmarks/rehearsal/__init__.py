"""Rehearsal at size: every stage on 100 studies of real size, and records of 100,000 studies."""
