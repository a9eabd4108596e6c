"""`cans testbed`: an experiment on real processes, from what is made beforehand to the report."""
