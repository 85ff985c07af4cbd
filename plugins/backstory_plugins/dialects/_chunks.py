"""A streamed chat completion, put together: the message that its deltas add up to.

Every value of every delta is collected first and folded once at the end, key by key, so that a
long reply costs no more than its length. What servers do differently is in ``dialects.md`` 2.5.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from backstory.jsonbody import NotJson, dump, read_object
from backstory_plugins.dialects._chat import joined
from backstory_plugins.dialects._sse import Event, chunks

_APPENDED = frozenset(
    {"content", "refusal", "reasoning_content", "reasoning"}  # of a message
    | {"arguments", "input"}  # of a call
    | {"data", "transcript"}  # of audio
    | {"text", "summary"}  # of an entry of reasoning_details; its "data" too
)
_SET_ONCE = frozenset({"id", "type", "name"})
_NESTED = frozenset({"function", "custom", "function_call", "audio"})


class Streamed(NamedTuple):
    """What a stream said."""

    message: dict[str, object]
    """The message of the choice with the lowest index."""
    finish: str | None
    """Its finish reason; ``"error"`` if the stream reported an error or cannot be read."""
    done: bool
    """``[DONE]`` came."""
    usage: object = None
    """What it cost: the last that was said of it."""


_BROKEN = Streamed({}, "error", False)


@dataclass(slots=True)
class _Choice:
    deltas: list[Mapping[str, object]] = field(default_factory=list)
    finish: str | None = None


def _delta(choice: Mapping[str, object]) -> object:
    return choice.get("delta")


def read_chunks(
    body: bytes, *, delta_of: Callable[[Mapping[str, object]], object] = _delta
) -> Streamed:
    """The reply in a whole event stream of ``chat.completion.chunk`` objects.

    ``delta_of``: what a choice adds to its message, where it is spelled in another way.
    """
    choices: dict[int, _Choice] = {}
    done, usage = False, None
    for chunk in chunks(body):
        if isinstance(chunk, Event):
            event, data = chunk, chunk.data.strip()
            if not data:
                continue
            if data.startswith(b"[DONE]"):
                done = True  # clients stop reading here, so does memory
                break
            try:
                chunk = read_object(data)
            except NotJson:
                if not event.closed:
                    break  # the input was cut in this event; the finish reason decides
                return _BROKEN
            if event.name == b"error":
                return _BROKEN
        if chunk.get("error"):
            return _BROKEN
        usage = chunk.get("usage") or usage  # vLLM can count in every chunk
        _note(chunk.get("choices"), choices, delta_of)
    if not choices:
        return Streamed({}, None, done)
    choice = choices[min(choices)]
    return Streamed(_fold(choice.deltas), choice.finish, done, usage)


def _note(
    said: object,
    choices: dict[int, _Choice],
    delta_of: Callable[[Mapping[str, object]], object],
) -> None:
    """Add the deltas of one chunk. It may have no choices: usage, content filter results."""
    for position, item in enumerate(said if isinstance(said, list) else ()):
        if not isinstance(item, dict):
            continue
        index = _index(item, position)
        choice = choices.get(index)
        if choice is None:
            choice = choices[index] = _Choice()
        delta, finish = delta_of(item), item.get("finish_reason")
        if isinstance(delta, dict):
            choice.deltas.append(delta)
        if isinstance(finish, str) and finish and choice.finish != "error":
            choice.finish = finish


def _index(item: Mapping[str, object], otherwise: int) -> int:
    index = item.get("index")
    return index if type(index) is int else otherwise


def _fold(deltas: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """One object from the pieces of it, its keys in the order in which they first came."""
    collected: dict[str, list[object]] = {}
    for delta in deltas:
        for key, value in delta.items():
            collected.setdefault(key, []).append(value)
    return {
        key: _folded(key, [value for value in values if value is not None])
        for key, values in collected.items()
    }


def _folded(key: str, values: list[object]) -> object:
    if not values:
        return None
    if key in _APPENDED:
        return joined([_spelled(value) if key == "arguments" else value for value in values])
    if key in _SET_ONCE:
        return next((value for value in values if value), values[0])
    if key in _NESTED:
        return _fold([value for value in values if isinstance(value, dict)])
    if key == "tool_calls":
        return [_call(fragments) for fragments in _calls(values)]
    if key == "reasoning_details":
        return _details(values)
    # A role that is repeated is set, not appended; of an unknown key the last value counts.
    return values[-1]


def _spelled(arguments: object) -> str:
    """Arguments as the string that they should be: some servers send the object itself."""
    return arguments if isinstance(arguments, str) else dump(arguments).decode()


def _calls(deltas: Sequence[object]) -> list[list[Mapping[str, object]]]:
    """The fragments of each tool call, in the order in which the calls began."""
    calls: list[list[Mapping[str, object]]] = []
    open_at: dict[int, list[Mapping[str, object]]] = {}
    last: list[Mapping[str, object]] | None = None
    for position, fragment in _fragments(deltas):
        call = open_at.get(_index(fragment, position))
        if type(fragment.get("index")) is not int and not fragment.get("id") and last is not None:
            call = last
        if call is None or _begins_another(call, fragment):
            call = open_at[_index(fragment, position)] = []
            calls.append(call)
        call.append(fragment)
        last = call
    return calls


def _fragments(deltas: Sequence[object]) -> Iterator[tuple[int, Mapping[str, object]]]:
    for delta in deltas:
        for position, fragment in enumerate(delta if isinstance(delta, list) else ()):
            if isinstance(fragment, dict):
                yield position, fragment


def _begins_another(call: Sequence[Mapping[str, object]], fragment: Mapping[str, object]) -> bool:
    """Whether a server has begun a new call at an index in use: another id, and a name with it.

    Without a name it is a server that makes up an id for every fragment (BerriAI/litellm #28223
    names one).
    """
    ident = fragment.get("id")
    if not ident or not (_named(fragment, "function") or _named(fragment, "custom")):
        return False
    known = next((earlier["id"] for earlier in call if earlier.get("id")), ident)
    return known != ident


def _named(fragment: Mapping[str, object], kind: str) -> bool:
    inner = fragment.get(kind)
    return isinstance(inner, dict) and bool(inner.get("name"))


def _call(fragments: Sequence[Mapping[str, object]]) -> dict[str, object]:
    call = {key: value for key, value in _fold(fragments).items() if value is not None}
    call.pop("index", None)
    call.setdefault("type", "custom" if "custom" in call else "function")
    return call


def _details(deltas: Sequence[object]) -> list[object]:
    """Entries with the same index and type are one; an entry without index stands alone."""
    entries: list[list[Mapping[str, object]]] = []
    open_at: dict[tuple[int, str], list[Mapping[str, object]]] = {}
    for _, fragment in _fragments(deltas):
        index = fragment.get("index")
        entry: list[Mapping[str, object]] = []
        if type(index) is int:
            entry = open_at.setdefault((index, str(fragment.get("type"))), entry)
        if not entry:
            entries.append(entry)
        entry.append(fragment)
    return [_fold(entry) for entry in entries]
