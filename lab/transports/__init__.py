"""Ways to ask and be answered with the same bytes: what benchmarks and the experiment `lab/hop` compare."""
