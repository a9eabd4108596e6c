"""Recorded traffic: what a subscriber saw, when, and when it may have missed something."""
