"""Bottlenecks and exits, trained by distillation to the uncut network; exits by labels too."""
