"""The version of every part: bus, roles and command line travel together."""

__version__ = "0.1.0"
