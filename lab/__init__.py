"""Emulated links and device types, benchmarks, figures."""
