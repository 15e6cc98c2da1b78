"""Benchmarks against other tools: `python -m benchmarks` lists them."""
