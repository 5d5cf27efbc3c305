"""Tests of cspine; the folders mirror src/cspine."""
