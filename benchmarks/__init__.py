"""Measurements: each module runs with ``python -m benchmarks.NAME``; results are kept in docs/benchmarks.md."""
