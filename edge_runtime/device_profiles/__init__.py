"""Devices with their sources, and what they predict for a model: time, energy, flash and RAM."""

from edge_runtime.device_profiles.profiles import DeviceProfile, Estimate, devices, estimate, find_device

__all__ = ["DeviceProfile", "Estimate", "devices", "estimate", "find_device"]
