"""The chain: one stage, one file."""
