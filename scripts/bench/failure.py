"""Why there are no figures."""


class Failure(Exception):
    """A measurement cannot be made or is invalid; the text says which and why."""
