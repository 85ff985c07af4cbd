"""First-party policies, one file each."""
