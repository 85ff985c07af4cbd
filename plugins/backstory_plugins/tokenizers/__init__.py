"""First-party tokenizers, one file each."""
