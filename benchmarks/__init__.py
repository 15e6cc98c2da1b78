"""Benchmarks against other tools: `python -m benchmarks` lists them."""

import os

# before any of them, or a process of theirs, loads onnxruntime
os.environ["ORT_DISABLE_TELEMETRY"] = os.environ.get("ORT_DISABLE_TELEMETRY") or "1"
