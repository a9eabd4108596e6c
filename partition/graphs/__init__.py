"""How any network becomes a graph with places to cut: traced, counted, cut into pieces."""
