"""The field ``input`` of a Responses request: a string or a list of items, and where history goes."""

from backstory.jsonbody import Value
from backstory.model import Beginning, Message, Prompt
from backstory_plugins.dialects._items import Item, item
from backstory_plugins.dialects._listed import Listed, listed, read_elements
from backstory_plugins.dialects._runs import message_of, runs

Edit = tuple[int, int, bytes]
"""From where to where the bytes of a body are replaced, and by what."""

_ASKED = b'{"type":"message","role":"user","content":'


def read_input(text: str, asked: Value, begun: Beginning | None) -> Listed:
    """The messages that an input is.

    ``insert_at``: an offset in the bytes, and how many messages follow behind the leading system
    messages. For a string: from where to where it is spelled, the end made negative.

    Args:
        text: the body, without what is known of the list.
        asked: the place of the input; perhaps its elements are walked already.
        begun: what is known of the list.

    Raises:
        NotJson: it is neither a string nor a list of objects.
    """
    if isinstance(asked.value, str):
        return _read_string(text, asked)
    array = read_elements(text, asked, item, begun)
    assert array is not None  # what is no item has raised
    messages: list[Message] = []
    starts: list[int] = []
    ends: list[int] = []
    at = 0
    for role, group in runs(array.elements):
        messages.append(message_of(role, group))
        starts.append(array.starts[at])
        at += len(group)
        ends.append(array.ends[at - 1])
    return listed(messages, array._replace(starts=starts, ends=ends), begun)


def _read_string(text: str, asked: Value) -> Listed:
    """The one message of the user that a string stands for."""
    spelled = text[asked.start : asked.end].encode()
    value = {"type": "message", "role": "user", "content": asked.value}
    message = message_of("user", [Item(value, _ASKED + spelled + b"}")])
    start = len(text[: asked.start].encode())
    return Listed((message,), 0, (start, -start - len(spelled)), None)


def insert(prompt: Prompt, told: bytes) -> list[Edit]:
    """Put ``told``, at least one item, behind the leading system messages."""
    at, follow = prompt.insert_at
    if follow < 0:
        spelled = prompt.body[at:-follow]
        return [(at, -follow, b"[" + told + b", " + _ASKED + spelled + b"}]")]
    if follow:
        return [(at, at, told + b", ")]
    return [(at, at, b", " + told if prompt.pinned else told)]
