"""The regret bound with all its constants, beside what the learner really pays."""
