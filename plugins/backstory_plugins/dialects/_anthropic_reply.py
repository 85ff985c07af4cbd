"""A reply of Anthropic's as memory keeps it: what the answer was, and one message to tell again.

The verdicts are the table of ``docs/dialects.md`` 5.4.
"""

import logging
from collections.abc import Sequence

from backstory.jsonbody import NotJson, Value, decode, dump, walk_object
from backstory.jsonbody import read_object as read_json
from backstory.model import Answer, Prompt, Reply, Verdict
from backstory_plugins.dialects._blocks import (
    Block,
    read_blocks,
    read_content,
    read_message,
    spell,
    string,
    text_block,
    text_of,
)
from backstory_plugins.dialects._completion import counted, is_json
from backstory_plugins.dialects._event_blocks import read_events
from backstory_plugins.dialects._thinking import note_of

log = logging.getLogger(__name__)

_CUT = ("max_tokens", "model_context_window_exceeded")
_PAUSED = ("pause_turn", "compaction")
_NATURAL_STOPS = ("end_turn", "stop_sequence", "tool_use")
_COUNTS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")


def read_stream(prompt: Prompt, answer: Answer) -> Reply:
    """The reply in an event stream, which ends with ``message_stop``."""
    streamed = read_events(answer.body)
    if streamed.failed:
        return Reply(Verdict.ERROR)
    if not streamed.whole:
        return Reply(Verdict.ABORTED)
    return _reply(prompt, answer, streamed.reason, streamed.blocks, streamed.usage)


def read_object(prompt: Prompt, answer: Answer) -> Reply:
    """The reply in a JSON object, which proves its own end: the closing brace."""
    try:
        text = decode(answer.body)
        fields = {key: places[-1] for key, places in walk_object(text).items()}
        blocks = read_content(text, fields.get("content", Value(None, 0, 0)))
    except NotJson:
        return Reply(Verdict.ERROR if answer.proved else Verdict.ABORTED)
    said = {key: place.value for key, place in fields.items()}
    if blocks is None or said.get("error") or said.get("type") == "error":
        return Reply(Verdict.ERROR)
    if not all(isinstance(b.value.get("input"), dict) for b in blocks if b.kind == "tool_use"):
        return Reply(Verdict.ERROR)
    plain = isinstance(said["content"], str)  # no server of Anthropic's own does that
    return _reply(prompt, answer, said.get("stop_reason"), blocks, said.get("usage"), plain=plain)


def _reply(
    prompt: Prompt,
    answer: Answer,
    reason: object,
    blocks: Sequence[Block],
    usage: object,
    *,
    plain: bool = False,
) -> Reply:
    verdict = _verdict(reason, blocks)
    if not verdict.kept:
        return Reply(verdict)
    if prompt.prefill:
        began = prompt.new[-1].raw
        blocks = _continued(read_blocks(began), blocks)
        plain = plain and isinstance(read_json(began).get("content"), str)
    thinks = any(block.is_thinking for block in blocks)
    if not thinks:
        blocks = [block for block in blocks if not block.is_blank]
    raw = spell("assistant", blocks)
    if plain:
        raw = dump({"role": "assistant", "content": text_of([block.value for block in blocks])})
    content = [block.value for block in blocks]
    stored = read_message({"role": "assistant", "content": content}, raw)
    if stored is None or not is_json(raw):
        return Reply(Verdict.ERROR)
    if thinks and answer.request:
        stored = stored._replace(note=note_of(answer.request))
    return Reply(verdict, (stored,), prompt_tokens=counted(usage, *_COUNTS))


def _continued(began: Sequence[Block], blocks: Sequence[Block]) -> list[Block]:
    """What the client began and the reply went on with: where text meets text, one text."""
    if not began or not blocks or not (_is_mere_text(began[-1]) and _is_mere_text(blocks[0])):
        return [*began, *blocks]
    text = string(began[-1].value.get("text")) + string(blocks[0].value.get("text"))
    return [*began[:-1], text_block(text), *blocks[1:]]


def _is_mere_text(block: Block) -> bool:
    return block.kind == "text" and not block.value.get("citations")


def _verdict(reason: object, blocks: Sequence[Block]) -> Verdict:
    if reason is None:
        return Verdict.ABORTED  # the server itself says that it has not finished
    if reason == "refusal":
        return Verdict.FILTERED
    if reason in _PAUSED:
        return Verdict.PAUSED
    calls = any(block.kind == "tool_use" for block in blocks)
    if reason in _CUT:
        if calls:
            return Verdict.ERROR  # the last of them was cut
        said = text_of([block.value for block in blocks]).strip()
        return Verdict.TRUNCATED if said else Verdict.EMPTY
    if all(block.is_blank or block.is_thinking for block in blocks):
        return Verdict.EMPTY
    if reason not in _NATURAL_STOPS:
        log.info("anthropic: stop_reason %.40r is read as a natural stop", reason)
    return Verdict.TOOL if calls else Verdict.COMPLETE
