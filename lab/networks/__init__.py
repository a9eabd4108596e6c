"""Networks of other people's libraries, as data, and the trial of cutting them: `python -m lab.models_table`."""

from lab.networks.build import build

__all__ = ["build"]
