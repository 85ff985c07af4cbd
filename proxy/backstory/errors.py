"""What can go wrong that somebody must catch apart, and the status a client is told."""


class BackstoryError(Exception):
    """An error of ours that has an answer: status, code and a sentence with the remedy."""

    def __init__(
        self, status: int, code: str, message: str, *, headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        """``headers`` are added to the answer, ``Retry-After`` for instance."""
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers


class UpstreamFailure(BackstoryError):
    """The upstream could not be asked, or answered something that is not HTTP: 502 or 504."""


class UpstreamCut(Exception):
    """The upstream's body ended before its framing said so."""


class StoreUnavailable(Exception):
    """The store cannot be read or written now. Nothing was changed, or it is unknown whether."""


class VersionConflict(Exception):
    """The stored conversation is not the one that this change was made from. Nothing was changed."""


class ConfigError(Exception):
    """Every problem of a configuration, one sentence each."""

    def __init__(self, problems: list[str]) -> None:
        """``problems``: name of the setting, what is wrong, what to do."""
        super().__init__("\n".join(problems))
        self.problems = problems


class NoSuchTurn(Exception):
    """The turn that a request continues is not stored (any more)."""
