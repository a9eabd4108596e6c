"""What `cans doctor` looks for, and how it says what it has found."""
