"""Many devices in virtual time, with the very policies, members and groups of the real system."""
