"""Experiments on real processes, a real broker and shaped links; the same files as the simulator's."""
