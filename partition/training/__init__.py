"""What is trained without labels: bottlenecks and exits, by distillation to the uncut network."""
