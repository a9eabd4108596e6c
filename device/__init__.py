"""The device: runs heads, learns where to cut."""
