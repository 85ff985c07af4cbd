"""First-party stores, one file each."""
