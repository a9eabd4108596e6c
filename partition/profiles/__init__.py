"""What a network takes on a machine: measured, written to a file, trusted or not."""
