"""The command line: composition roots only."""
