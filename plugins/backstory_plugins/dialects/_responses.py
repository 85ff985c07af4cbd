"""A reply of the Responses API as memory keeps it: one message of all its items, in their order.

A stream is not put together from its pieces: its last event holds the whole response. For servers
whose last event is thin, the items are taken from the events that end each of them.
"""

import logging
import re
from collections.abc import Mapping, Sequence

from backstory.jsonbody import NotJson, Value, decode, walk_object
from backstory.model import Answer, Prompt, Reply, Verdict
from backstory_plugins.dialects._completion import counted, is_json
from backstory_plugins.dialects._items import (
    Item,
    item_at,
    items_of,
    read_items,
    role_of,
    said_in,
    shows_something,
)
from backstory_plugins.dialects._runs import message_of, open_calls
from backstory_plugins.dialects._sse import Event, events

log = logging.getLogger(__name__)

_ENDS = {
    "response.completed": "completed",
    "response.incomplete": "incomplete",
    "response.failed": "failed",
    "response.cancelled": "cancelled",
}
_ITEM = "response.output_item.done"
_NAMES = frozenset(name.encode() for name in (*_ENDS, _ITEM, "error"))
_named = re.compile(b'"(?:' + b"|".join(map(re.escape, sorted(_NAMES))) + b')"').search
_TOO_LONG = ("max_output_tokens", "max_tokens")

Fields = Mapping[str, Sequence[Value]]


def read_response(prompt: Prompt, answer: Answer) -> Reply:
    """The reply in a JSON object, which proves its own end: the closing brace."""
    try:
        text = decode(answer.body)
        fields = walk_object(text)
    except NotJson:
        return Reply(Verdict.ERROR if answer.proved else Verdict.ABORTED)
    status = _last(fields, "status")
    return _reply(prompt, text, fields, status if isinstance(status, str) else "completed", {})


def read_events(prompt: Prompt, answer: Answer) -> Reply:
    """The reply in an event stream, which ends with an event that holds the response."""
    done: dict[int, Item] = {}
    for event in events(answer.body):
        if not _matters(event):
            continue
        try:
            text = decode(event.data)
            fields = walk_object(text)
        except NotJson:
            if not event.closed:
                break  # the input was cut in this event
            return Reply(Verdict.ERROR)
        kind = _last(fields, "type")
        if not isinstance(kind, str):
            kind = event.name.decode("latin-1")
        if "error" in (kind, event.name.decode("latin-1")) or _last(fields, "error"):
            return Reply(Verdict.ERROR)
        if kind == _ITEM and "item" in fields:
            index = _last(fields, "output_index")
            at = index if type(index) is int else len(done)
            done[at] = item_at(text, fields["item"][-1])
        elif kind in _ENDS:
            return _reply(prompt, text, _response(text, fields), _ENDS[kind], done)
    return Reply(Verdict.ABORTED)


def _matters(event: Event) -> bool:
    """Whether to look into the event: most are pieces of what comes again as a whole."""
    if event.name.startswith(b"response."):
        return event.name in _NAMES
    return event.name == b"error" or _named(event.data) is not None


def _response(text: str, fields: Fields) -> Fields:
    places = fields.get("response", ())
    if not places or not isinstance(places[-1].value, dict):
        return {}
    return walk_object(text, places[-1].start, whole=False)


def _last(fields: Fields, key: str) -> object:
    return fields[key][-1].value if key in fields else None


def _reply(
    prompt: Prompt, text: str, fields: Fields, status: str, done: Mapping[int, Item]
) -> Reply:
    items: list[Item] = []
    if isinstance(_last(fields, "output"), list):
        items = read_items(text, fields["output"][-1].start)
    items = items or [done[at] for at in sorted(done)]
    if any(role_of(item) in ("user", "system") for item in items):
        raise NotJson("not a reply")
    verdict = _verdict(status, fields, items)
    if not verdict.kept:
        return Reply(verdict)
    before = items_of(prompt.new[-1]) if prompt.prefill else []
    message = message_of("assistant", [*before, *items])
    if message.note or not is_json(b"[" + message.raw + b"]"):
        return Reply(Verdict.ERROR)
    ident = _last(fields, "id")
    return Reply(
        verdict,
        (message,),
        reply_id=ident if isinstance(ident, str) else "",
        prompt_tokens=counted(_last(fields, "usage"), "input_tokens"),
    )


def _verdict(status: str, fields: Fields, items: Sequence[Item]) -> Verdict:
    if _last(fields, "error") or status in ("failed", "cancelled"):
        return Verdict.ERROR
    if status == "incomplete":
        return _incomplete(fields, items)
    if status in ("queued", "in_progress"):
        return Verdict.ABORTED  # the server itself says that it has not finished
    if status != "completed":
        log.info("openai.responses: status %.40r is read as completed", status)
    calls = open_calls(items)
    if not all(call.whole for call in calls):
        return Verdict.ERROR
    if calls:
        return Verdict.TOOL
    return Verdict.COMPLETE if shows_something(items) else Verdict.EMPTY


def _incomplete(fields: Fields, items: Sequence[Item]) -> Verdict:
    details = _last(fields, "incomplete_details")
    reason = details.get("reason") if isinstance(details, dict) else None
    if reason == "content_filter":
        return Verdict.FILTERED
    if reason not in _TOO_LONG:
        return Verdict.ABORTED
    cut = {
        item.value.get("call_id")
        for item in items
        if item.value.get("status") in ("in_progress", "incomplete")
        and isinstance(item.value.get("call_id"), str)
    }
    if any(not call.whole or call.id in cut for call in open_calls(items)):
        return Verdict.ERROR
    return Verdict.TRUNCATED if said_in(items).strip() else Verdict.EMPTY
