"""The federated aggregator: merges statistics of a group, broadcasts its parameters."""
