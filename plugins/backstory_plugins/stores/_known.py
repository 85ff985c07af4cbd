"""What the SQLite store knows of a conversation: as it is, and where its rows are."""

from dataclasses import dataclass

from backstory.model import Conversation
from backstory_plugins.stores._sealed import Seal


@dataclass(slots=True)
class Known:
    """True for as long as its stamp stands (``_stamps.py``)."""

    conversation: Conversation
    row: int
    head_row: int | None
    seal: Seal
    slot: int
    stamp: int = 0
    """0: not to be used again."""

    @property
    def weight(self) -> int:
        """Bytes that it takes, roughly."""
        return 1024 + sum(map(len, self.conversation.pinned))
