"""Benchmarks: one script per row of docs/benchmarks.md; `python -m benchmarks.all` runs them all."""
