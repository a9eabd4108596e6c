"""Finds the settings that every policy plays evaluation with, on seeds and links of its own."""
