"""The newest turns of a conversation, as a policy and the core choose them."""

from collections.abc import Sequence

from backstory.model import Budget, Message, Turn
from backstory.trim import cut_of
from backstory_plugins.policies.turns import Turns

Group = Sequence[Message]


def newest(groups: Sequence[Group], most: int) -> Sequence[Group]:
    """``most`` of them at most, beginning where no result loses its call if there is such a place."""
    path = [
        Turn(str(depth), None, "", tuple(group), (), b"", depth, 0, 0)
        for depth, group in enumerate(groups, 1)
    ]
    return groups[cut_of(path, 0, Budget(most, None), Turns()) :]
