"""The memory receipt: what the answer's headers say that memory did."""

from typing import Literal, NamedTuple

Outcome = Literal["new", "hit", "off", "read", "bypassed", "skipped", "replayed"]


class Receipt(NamedTuple):
    """``Backstory-Memory``, a structured-field item (RFC 9651 section 3.3): a token with parameters."""

    outcome: Outcome
    turns: int | None = None
    """Turns that were put in front of the request."""
    omitted: int | None = None
    """Older turns that were not."""
    tokens: int | None = None
    """Estimate of what was put in front."""
    version: int | None = None
    """The conversation's before this turn."""
    read_as: str | None = None
    reason: str | None = None

    def with_reason(self, reason: str | None) -> "Receipt":
        """The same with a reason, if there is one."""
        return self._replace(reason=reason) if reason else self

    def __str__(self) -> str:
        """The field's value."""
        outcome, turns, omitted, tokens, version, read_as, reason = self
        text: str = outcome
        if turns is not None:
            text += f";turns={turns}"
        if omitted is not None:
            text += f";omitted={omitted}"
        if tokens is not None:
            text += f";tokens={tokens}"
        if version is not None:
            text += f";version={version}"
        if read_as is not None:
            text += f";as={read_as}"
        return text if reason is None else f"{text};reason={reason}"
