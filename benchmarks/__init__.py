"""Benchmarks against other tools: `python -m benchmarks` lists them."""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before any of them, or a process of theirs, loads onnxruntime
