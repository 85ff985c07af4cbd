"""First-party dialects, one file each."""
