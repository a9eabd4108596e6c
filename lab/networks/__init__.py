"""Networks of other people's libraries, as data, and the trial of cutting them: see `lab.models_table`."""

from lab.networks.build import build

__all__ = ["build"]
