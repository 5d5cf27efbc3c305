"""Speed, cost and accuracy against peers: ``python -m benchmarks.NAME``; results are in docs/benchmarks.md."""
