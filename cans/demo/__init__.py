"""`cans demo`: a whole site on this machine, and what people see of it."""
