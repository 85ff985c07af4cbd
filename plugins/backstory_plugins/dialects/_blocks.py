"""A message of Anthropic's, ``{"role": …, "content": …}``, block by block and as it is spelled.

What is taken out of a message leaves the bytes of every other block as they were: signatures and
numbers survive. Values come from strangers: any key may hold any JSON.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from backstory.fingerprint import estimate_tokens, fingerprints
from backstory.jsonbody import NotJson, Value, decode, dump, walk_array, walk_object
from backstory.model import Message, Role

FORM = "anthropic"

_ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system"}
_THINKING = ("thinking", "redacted_thinking")

# dialects.md C.4: base64 says nothing about the tokens of what it spells.
_IMAGE_TOKENS = 1500
_DOCUMENT_BYTES_PER_TOKEN = 20


class Block(NamedTuple):
    """One block of a content, and its bytes."""

    value: Mapping[str, object]
    spelled: bytes

    @property
    def kind(self) -> str:
        """Its ``type``; empty if it has none."""
        return string(self.value.get("type"))

    @property
    def is_thinking(self) -> bool:
        """Only the model that wrote it may read it."""
        return self.kind in _THINKING

    @property
    def is_blank(self) -> bool:
        """A text without a word, which the API refuses to hear again."""
        return self.kind == "text" and not string(self.value.get("text")).strip()

    @property
    def call(self) -> str:
        """The id under which it asks the client for a tool; empty if it does not."""
        return string(self.value.get("id")) if self.kind == "tool_use" else ""

    @property
    def answers(self) -> str:
        """The id of the call whose result it is; empty if it is none."""
        return string(self.value.get("tool_use_id")) if self.kind == "tool_result" else ""


def string(value: object) -> str:
    """``value`` if it is one, else an empty one."""
    return value if isinstance(value, str) else ""


def text_block(text: str) -> Block:
    """What a content that is a mere string stands for."""
    value = {"type": "text", "text": text}
    return Block(value, dump(value))


def read_content(text: str, place: Value) -> list[Block] | None:
    """The blocks of the content at ``place``; ``None`` if it is no content.

    Raises:
        NotJson: nested too deep.
    """
    if isinstance(place.value, str):
        return [text_block(place.value)]
    if not isinstance(place.value, list):
        return None
    blocks = []
    for value, start, end in walk_array(text, place.start):
        if not isinstance(value, dict):
            return None
        blocks.append(Block(value, text[start:end].encode()))
    return blocks


def read_blocks(raw: bytes) -> list[Block]:
    """The blocks of a whole message; none if it cannot be read."""
    try:
        text = decode(raw)
        content = walk_object(text).get("content", ())
        return (read_content(text, content[-1]) if content else None) or []
    except NotJson:
        return []


def spell(role: str, blocks: Sequence[Block]) -> bytes:
    """A message of these blocks."""
    inside = b",".join([block.spelled for block in blocks])
    return b'{"role":%b,"content":[%b]}' % (dump(role), inside)


def read_message(value: object, raw: bytes) -> Message | None:
    """The message ``value``, spelled ``raw``; ``None`` if it is none of this API's.

    Raises:
        NotJson: nested too deep to be compared with anything.
    """
    if not isinstance(value, dict):
        return None
    role = _ROLES.get(string(value.get("role")))
    content = value.get("content")
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    if role is None or not isinstance(content, list):
        return None
    if not all(isinstance(block, dict) for block in content):
        return None
    try:
        return _noted(role, content, raw)
    except RecursionError as exc:
        raise NotJson("nested too deep") from exc


def _noted(role: Role, content: Sequence[Mapping[str, object]], raw: bytes) -> Message:
    text = text_of(content)
    media = list(_media(content))
    uses = [block for block in content if block.get("type") == "tool_use"]
    answered = [block for block in content if block.get("type") == "tool_result"]
    calls = [Block(block, b"").call for block in uses] if role == "assistant" else []
    answers = [Block(block, b"").answers for block in answered] if role == "user" else []
    if answered and role == "user" and len(answered) == len(content):
        role = "tool"  # nothing but results
    fingerprint, spine = fingerprints(
        role,
        text,
        media=[data for data, _ in media],
        calls=[(string(block.get("name")), block.get("input")) for block in uses],
        results=[
            (string(block.get("tool_use_id")), text_of(block.get("content"))) for block in answered
        ],
    )
    size, tokens = len(raw), 0
    for data, worth in media:
        size -= len(data)
        tokens += worth
    return Message(
        role,
        raw,
        fingerprint,
        spine,
        calls=tuple([call for call in calls if call]),
        answers=tuple([answer for answer in answers if answer]),
        tokens=tokens + estimate_tokens(max(0, size)),
        form=FORM,
    )


def text_of(content: object) -> str:
    """All text blocks joined, exactly as spelled; a string is one."""
    if not isinstance(content, list):
        return string(content)
    return "".join(
        [
            string(block.get("text"))
            for block in content
            if isinstance(block, dict) and block.get("type") == "text"
        ]
    )


def _media(content: object) -> Iterator[tuple[str, int]]:
    """Each URL, base64 string or file id in ``content``, with an estimate of its tokens."""
    for block in content if isinstance(content, list) else ():
        if not isinstance(block, dict):
            continue
        kind, source = block.get("type"), block.get("source")
        if kind == "tool_result":
            yield from _media(block.get("content"))
        elif isinstance(source, dict):
            data = next((source[k] for k in ("data", "url", "file_id") if k in source), None)
            if isinstance(data, str):
                is_image = kind == "image"
                yield data, _IMAGE_TOKENS if is_image else len(data) // _DOCUMENT_BYTES_PER_TOKEN


def merged(messages: Sequence[Message]) -> list[Message]:
    """``messages``, those of the assistant that follow each other as one: so the API reads them.

    Raises:
        NotJson: nested too deep.
    """
    told: list[Message] = []
    for message in messages:
        if told and message.role == told[-1].role == "assistant":
            blocks = read_blocks(told.pop().raw) + read_blocks(message.raw)
            told.append(respelled(message, blocks))
        else:
            told.append(message)
    return told


def respelled(message: Message, blocks: Sequence[Block]) -> Message:
    """A message of the same role that consists of ``blocks``.

    Raises:
        NotJson: nested too deep.
    """
    role = "user" if message.role == "tool" else message.role
    content = [block.value for block in blocks]
    read = read_message({"role": role, "content": content}, spell(role, blocks))
    assert read is not None
    return read


def without(message: Message, goes: Callable[[Block], bool]) -> Message | None:
    """``message`` without the blocks that ``goes`` names; ``None`` if nothing is left.

    The fingerprints stay: it is still that stored message. The same object if nothing goes.
    """
    blocks = read_blocks(message.raw)
    kept = [block for block in blocks if not goes(block)]
    if not any(not block.is_blank for block in kept):
        return None
    if len(kept) == len(blocks):
        return message
    raw = _with_content(message.raw, kept)
    less = estimate_tokens(len(message.raw)) - estimate_tokens(len(raw))
    return message._replace(
        raw=raw,
        calls=tuple([block.call for block in kept if block.call]),
        answers=tuple([block.answers for block in kept if block.answers]),
        tokens=max(1, message.tokens - less),
        note=message.note if any(block.is_thinking for block in kept) else b"",
    )


def _with_content(raw: bytes, blocks: Sequence[Block]) -> bytes:
    """The message ``raw`` with this content; every other byte as it was."""
    text = decode(raw)
    place = walk_object(text)["content"][-1]
    inside = b",".join([block.spelled for block in blocks])
    return b"%b[%b]%b" % (text[: place.start].encode(), inside, text[place.end :].encode())


def without_thinking(message: Message) -> Message | None:
    """``message`` without thinking; ``None`` if nothing is left.

    Texts without a word go too: beside thinking they had to stay, alone they are refused.
    """
    if not has_thinking(message):
        return message
    return without(message, lambda block: block.is_thinking or block.is_blank)


def has_thinking(message: Message) -> bool:
    """Whether there is thinking in it; costs nothing where nothing looks like it."""
    if message.role != "assistant" or b"thinking" not in message.raw:
        return False
    return bool(message.note) or any(block.is_thinking for block in read_blocks(message.raw))
