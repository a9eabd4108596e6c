"""The edge worker: runs tails."""
