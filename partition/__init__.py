"""Networks, cuts, contexts, heads and tails, codecs: the only home of torch."""
