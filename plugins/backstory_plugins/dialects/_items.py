"""One item of the Responses API: which side it belongs to, and what it says.

The list ``input`` of a request and the list ``output`` of a reply hold items, not messages: a
message, but also each step of the model's reasoning, each tool call, each result. Values come from
strangers: any key may hold any JSON.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from backstory.jsonbody import NotJson, Value, walk_array
from backstory.model import Message, Role
from backstory_plugins.dialects._chat import Call, calls_of, text_of

_ROLES: dict[str, Role] = {
    "developer": "system",
    "system": "system",
    "user": "user",
    "assistant": "assistant",
}
_ASSISTANTS = frozenset(
    {"reasoning", "compaction", "mcp_list_tools", "mcp_approval_request", "program"}
    | {"program_output"}  # of a program that the upstream runs itself
)
_ELSEWHERE = frozenset({"item_reference", "compaction_trigger"})
_SHOWS_NOTHING = _ASSISTANTS | {"message"}
_ACTIONS = ("action", "actions", "operation", "arguments")

# dialects.md C.4: base64 says nothing about the tokens of what it spells.
_IMAGE_TOKENS = 1500
_MEDIA_BYTES_PER_TOKEN = 20
_ENCRYPTED_BYTES_PER_TOKEN = 4


class Item(NamedTuple):
    """An item with its bytes."""

    value: Mapping[str, object]
    raw: bytes

    @property
    def kind(self) -> str:
        """Its type; ``message`` if it has none."""
        kind = self.value.get("type")
        return "message" if kind is None else kind if isinstance(kind, str) else ""


def read_items(text: str, start: int) -> list[Item]:
    """The items of the array at ``start``.

    Raises:
        NotJson: it is no array of objects.
    """
    return [item_at(text, place) for place in walk_array(text, start)]


def item(value: object, raw: bytes) -> Item:
    """The item ``value``, spelled ``raw``.

    Raises:
        NotJson: it is no object.
    """
    if not isinstance(value, dict):
        raise NotJson("an item is no object")
    return Item(value, raw)


def item_at(text: str, place: Value) -> Item:
    """The item at ``place``.

    Raises:
        NotJson: it is no object.
    """
    return item(place.value, text[place.start : place.end].encode())


def items_of(message: Message) -> list[Item]:
    """The items that a message of this form is made of.

    Raises:
        NotJson: it is of another form.
    """
    try:
        return read_items(f"[{message.raw.decode()}]", 0)
    except UnicodeDecodeError as exc:
        raise NotJson("not UTF-8") from exc


def role_of(item: Item) -> Role | None:
    """Whose message the item is, or is a part of; ``None``: of the message that it stands beside.

    Raises:
        NotJson: it is no item, or it stands for one that only the upstream knows.
    """
    value, kind = item.value, item.kind
    if kind == "message":
        named = value.get("role")
        role = _ROLES.get(named) if isinstance(named, str) else None
        if role is None:
            raise NotJson("a message without a role")
        return role
    if not kind or kind in _ELSEWHERE:
        raise NotJson("not an item that can be told again")
    if kind in _ASSISTANTS or kind.endswith("_call") or value.get("execution") == "server":
        return "assistant"
    return "tool" if answered(item) else None


def answered(item: Item) -> str:
    """The id of the call whose result this is; empty if it is none."""
    if item.kind == "mcp_approval_response":
        return _string(item.value.get("approval_request_id"))
    if not item.kind.endswith("_output"):
        return ""
    ident = _string(item.value.get("call_id"))
    if not ident and item.kind == "local_shell_call_output":
        ident = _string(item.value.get("id"))  # as the API spells it, of its call
    return ident


def is_hosted(item: Item) -> bool:
    """Whether the upstream itself runs this call, in a container of its own for instance."""
    place = item.value.get("environment")
    elsewhere = isinstance(place, dict) and place.get("type") not in (None, "local")
    return elsewhere or item.value.get("execution") == "server"


def call_of(item: Item) -> Call | None:
    """The call that the client has to answer; ``None`` if this is none."""
    value, kind = item.value, item.kind
    if kind == "mcp_approval_request":
        ident = _string(value.get("id"))
    elif kind.endswith("_call") and not is_hosted(item):
        ident = _string(value.get("call_id"))
    else:
        return None
    if not ident:
        return None  # the upstream runs it: a search of the web, an image
    if kind == "custom_tool_call":
        said = value.get("input")
        return Call(ident, _string(value.get("name")), said, isinstance(said, str))
    if kind in ("function_call", "mcp_approval_request"):
        (call,) = calls_of({"function_call": value})  # spelled as the old calls of a chat
        return call._replace(id=ident)
    action = next((value[key] for key in _ACTIONS if value.get(key) is not None), None)
    return Call(ident, kind, action, True)


def said_in(items: Sequence[Item]) -> str:
    """The text of all messages among ``items``."""
    return "".join(text_of(item.value) for item in items if item.kind == "message")


def shows_something(items: Sequence[Item]) -> bool:
    """Whether there is something to show, calls aside: text, or what the upstream did itself."""
    return bool(said_in(items).strip()) or any(
        item.kind not in _SHOWS_NOTHING
        and not item.kind.endswith("_output")
        and call_of(item) is None
        for item in items
    )


def result_of(item: Item) -> str:
    """The text of a tool's result."""
    said = item.value.get("output")
    if isinstance(said, str):
        return said
    text = text_of({"content": said if isinstance(said, list) else [said]})
    if text or next(media_of(item), None):
        return text
    told = {key: value for key, value in item.value.items() if key not in ("id", "status")}
    return json.dumps(said if said is not None else told, sort_keys=True)


def media_of(item: Item) -> Iterator[str]:
    """Each URL, file id or base64 string in a message or in a result."""
    for part, key in _media(item):
        yield _string(part[key])


def tokens_and_size(item: Item) -> tuple[int, int]:
    """An estimate for what is no text, and how many bytes of the item that leaves."""
    tokens, size = 0, len(item.raw)
    for part, key in _media(item):
        data = _string(part[key])
        size -= len(data)
        image = key == "image_url" or part.get("type") == "input_image"
        tokens += _IMAGE_TOKENS if image else len(data) // _MEDIA_BYTES_PER_TOKEN
    drawn = item.value.get("result")
    if item.kind == "image_generation_call" and isinstance(drawn, str):
        size, tokens = size - len(drawn), tokens + _IMAGE_TOKENS
    sealed = _string(item.value.get("encrypted_content"))
    return tokens + len(sealed) // _ENCRYPTED_BYTES_PER_TOKEN, max(0, size - len(sealed))


def _media(item: Item) -> Iterator[tuple[Mapping[str, object], str]]:
    parts = item.value.get("content" if item.kind == "message" else "output")
    for part in parts if isinstance(parts, list) else [parts]:
        if isinstance(part, dict):
            for key in ("image_url", "file_data", "file_url", "file_id"):
                if isinstance(part.get(key), str):
                    yield part, key
                    break


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""
