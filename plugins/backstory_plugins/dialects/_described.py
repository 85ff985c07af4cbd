"""What a configuration says of an API: read once, every problem at once, each with its remedy."""

from collections.abc import Mapping
from dataclasses import dataclass

from backstory.errors import ConfigError
from backstory.model import Role, Verdict
from backstory_plugins.dialects._jsonpath import JsonPath
from backstory_plugins.dialects._option_table import OptionTable
from backstory_plugins.dialects._placeholders import places
from backstory_plugins.dialects._spelled_message import SpelledMessage
from backstory_plugins.dialects._titled_text import TitledText

_ROLES: tuple[Role, ...] = ("system", "user", "assistant")
_VERDICTS = {
    verdict.value: verdict
    for verdict in Verdict
    if verdict not in (Verdict.UNPROVED, Verdict.ABORTED)  # nothing that an upstream says
}
_MEDIA_TYPES: dict[str, tuple[str, ...]] = {
    "sse": ("text/event-stream",),
    "ndjson": (
        "application/x-ndjson",
        "application/ndjson",
        "application/jsonl",
        "application/x-jsonlines",
    ),
    "text": (),
}
_OUR_ERROR = {"error": {"code": "{code}", "message": "{message}"}}


@dataclass(frozen=True, slots=True)
class Stream:
    """How an answer is streamed."""

    kind: str
    """``sse``, ``ndjson`` or ``text``."""
    media_types: frozenset[str]
    """Which answers are: none for every one that is not JSON."""
    text: JsonPath | None
    """Of a piece of the reply in an event."""
    cumulative: bool
    """Each piece is the whole reply so far."""
    finish: JsonPath | None
    error: JsonPath | None
    end_text: str
    """With which the data of the last event begins, or with which raw text ends."""
    end_event: str
    """The name of the last event."""
    end: JsonPath | None
    """The event that has one of ``end_values`` there is the last."""
    end_values: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Description:
    """An API."""

    prompt: JsonPath
    told: SpelledMessage | TitledText
    """How a conversation stands there: as a list of messages, or in one text."""
    reply: JsonPath | None
    finish: JsonPath | None
    verdicts: Mapping[str, Verdict]
    error: JsonPath | None
    error_body: object
    model: JsonPath | None
    reply_tokens: JsonPath | None
    reply_id: JsonPath | None
    prompt_tokens: JsonPath | None
    stream: Stream | None


def read_description(given: Mapping[str, object]) -> Description:
    """The API that ``given`` describes.

    Raises:
        ConfigError: with every problem.
    """
    problems: list[str] = []
    options = OptionTable(given, problems)
    prompt = _prompt(options)
    told = _told(options)
    reply = options.path("reply")
    finish, error = options.path("finish"), options.path("error")
    verdicts = _verdicts(options)
    error_body = options.table("error_body")
    model = options.path("model")
    reply_tokens = options.path("reply_tokens")
    reply_id = options.path("reply_id")
    prompt_tokens = options.path("prompt_tokens")
    has_replies = "reply" in given or "stream" in given
    table = options.table("stream")
    stream = None if table is None else _stream(OptionTable(table, problems, "stream."), error)
    if not has_replies:
        options.problem("reply", "missing; give the JSON path of the reply's text, or stream")
    if verdicts and finish is None and (stream is None or stream.finish is None):
        options.problem("verdicts", "nothing says a word to look up; give finish, its JSON path")
    options.end()
    if problems or prompt is None or told is None:
        raise ConfigError(problems)
    return Description(
        prompt,
        told,
        reply,
        finish,
        verdicts,
        error,
        _OUR_ERROR if error_body is None else error_body,
        model,
        reply_tokens,
        reply_id,
        prompt_tokens,
        stream,
    )


def _prompt(options: OptionTable) -> JsonPath | None:
    if "prompt" not in options:
        options.problem(
            "prompt", "missing; give the JSON path of the messages or of the text, as in $.messages"
        )
    path = options.path("prompt", one_place=True)
    if path is not None and not (path.steps and isinstance(path.steps[0], str)):
        options.problem("prompt", "must begin with a name: the body is a JSON object")
        return None
    return path


def _told(options: OptionTable) -> SpelledMessage | TitledText | None:
    is_list, is_text = "message" in options, "transcript" in options
    message, roles = options.table("message"), _roles(options)
    transcript = options.texts("transcript")
    if is_list and is_text:
        options.problem("transcript", "the prompt is a list of messages; give one of both")
    elif not (is_list or is_text):
        options.problem(
            "message",
            'missing; give how one is spelled, as in { role = "{role}", content = "{text}" },'
            " or transcript, where the prompt is one text",
        )
    elif is_text:
        return None if transcript is None else _titled(options, transcript)
    return None if message is None else _spelled(options, message, roles)


def _roles(options: OptionTable) -> dict[Role, str]:
    words = options.texts("roles")
    if words is None:
        return {role: role for role in _ROLES}
    for name in words:
        if name not in _ROLES:
            options.problem(f"roles.{name}", "not one of " + ", ".join(_ROLES))
    known = {role: words[role] for role in _ROLES if role in words}
    for role in ("user", "assistant"):
        if role not in words:
            options.problem(f"roles.{role}", f"missing; give what this API calls the {role}")
    if len(set(known.values())) < len(known):
        options.problem("roles", "two have the same word, and could not be told apart")
    return known


def _spelled(
    options: OptionTable, message: object, words: Mapping[Role, str]
) -> SpelledMessage | None:
    role, text = places(message, "role"), places(message, "text")
    for name, found in (("role", role), ("text", text)):
        if len(found) != 1:
            options.problem("message", f'"{{{name}}}" must stand in it alone, and once')
    if len(role) != 1 or len(text) != 1:
        return None
    return SpelledMessage(message, role[0], text[0], words)


def _titled(options: OptionTable, transcript: Mapping[str, str]) -> TitledText | None:
    titles: dict[Role, tuple[str, str]] = {}
    before = len(options.problems)
    for name in transcript:
        if name not in (*_ROLES, "ending"):
            options.problem(f"transcript.{name}", "not one of " + ", ".join((*_ROLES, "ending")))
    for role in _ROLES:
        if role not in transcript:
            if role != "system":
                options.problem(
                    f"transcript.{role}", 'missing; give how one is told, as in "Human: {text}\\n"'
                )
            continue
        title, placeholder, behind = transcript[role].partition("{text}")
        if not title or not placeholder or "{text}" in behind:
            options.problem(f"transcript.{role}", 'must be a title and, once, "{text}" behind it')
        titles[role] = title, behind
    if len({title for title, _ in titles.values()}) < len(titles):
        options.problem("transcript", "two have the same title, and could not be told apart")
    if len(options.problems) > before:
        return None
    return TitledText(titles, transcript.get("ending", titles["assistant"][0]))


def _verdicts(options: OptionTable) -> dict[str, Verdict]:
    words = options.texts("verdicts") or {}
    for word, name in words.items():
        if name not in _VERDICTS:
            options.problem(f"verdicts.{word}", "not one of " + ", ".join(_VERDICTS))
    return {word: _VERDICTS[name] for word, name in words.items() if name in _VERDICTS}


def _stream(options: OptionTable, error: JsonPath | None) -> Stream:
    if "kind" not in options:
        options.problem("kind", "missing; one of " + ", ".join(_MEDIA_TYPES))
    kind = options.text("kind", one_of=tuple(_MEDIA_TYPES))
    media_types = options.words("media_types")
    has_end = [name for name in ("end_text", "end_event", "end") if name in options]
    has_text, has_values = "text" in options, "end_values" in options
    stream = Stream(
        kind,
        frozenset(name.lower() for name in media_types or _MEDIA_TYPES.get(kind, ())),
        options.path("text"),
        options.switch("cumulative"),
        options.path("finish"),
        options.path("error", error),
        options.text("end_text"),
        options.text("end_event"),
        options.path("end"),
        options.several("end_values"),
    )
    fits = {"sse": ("end_text", "end_event", "end"), "ndjson": ("end",), "text": ("end_text",)}
    for name in has_end:
        if name not in fits.get(kind, has_end):
            options.problem(name, f"{kind} has no place for it; it has {', '.join(fits[kind])}")
    if len(has_end) > 1:
        options.problem(has_end[1], f"the end is said by {has_end[0]} already; give one of both")
    if ("end" in has_end) != has_values:
        missing, there = ("end_values", "end") if "end" in has_end else ("end", "end_values")
        options.problem(missing, f"missing; {there} says nothing without it")
    if kind in ("sse", "ndjson") and not has_text:
        options.problem("text", "missing; give the JSON path of a piece of the reply in an event")
    elif kind == "text" and has_text:
        options.problem("text", "raw text has no paths; leave it out")
    if kind == "sse" and len((stream.end_text + stream.end_event).splitlines()) > 1:
        options.problem(has_end[0], "must be one line")
    options.end()
    return stream
