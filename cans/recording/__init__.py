"""Recorded traffic: writing it down, looking into it, changing it, playing it again."""
