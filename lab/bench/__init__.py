"""Benchmarks: every ratio is measured side by side, alternating, in one run."""
