"""What the cells of a grid come to, simulated or played, beside each other."""
