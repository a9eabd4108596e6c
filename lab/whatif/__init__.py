"""What recorded frames would have cost under another policy."""
