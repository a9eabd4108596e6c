"""LinUCB family and FedLinUCB-DW: arithmetic and choice, numpy only."""
