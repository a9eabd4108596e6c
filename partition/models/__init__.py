"""Models by hash in a folder, and the roll-out of new versions."""
