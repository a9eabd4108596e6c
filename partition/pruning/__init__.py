"""Which arms can ever be best, with proofs, and where on the map of links and edges."""
