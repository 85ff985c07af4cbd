"""The parts of a Gemini content: what each one is, and leaving some out with the rest as spelled.

Google's servers read every key in two spellings, ``functionCall`` and ``function_call``.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from backstory.jsonbody import dump, walk_array, walk_object

Part = Mapping[str, object]

SIGNATURES = ("thoughtSignature", "thought_signature")

_IMAGE_TOKENS = 1500  # dialects.md C.4: base64 says nothing about the tokens of what it spells
_MEDIA_BYTES_PER_TOKEN = 20
_SILENT = frozenset(
    {"text", "thought", *SIGNATURES}
    | {"functionCall", "function_call", "functionResponse", "function_response"}
    | {"partMetadata", "part_metadata", "videoMetadata", "video_metadata"}
    | {"mediaResolution", "media_resolution"}
)
"""Keys whose presence alone shows nothing to anybody."""


class Call(NamedTuple):
    """A function that the model wants called."""

    id: str
    """Empty if the server gave none."""
    name: str
    arguments: object
    whole: bool
    """Not a piece of a call whose arguments are streamed (Vertex AI)."""


class Result(NamedTuple):
    """What a function returned."""

    id: str
    name: str
    text: str
    """The response as JSON, keys in order."""


class Spelled(NamedTuple):
    """A part, and how it was spelled."""

    value: Part
    raw: str


def parts_of(content: Mapping[str, object]) -> list[Part] | None:
    """The parts of a content; ``None`` if they are no list of objects."""
    parts = content.get("parts") or []
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        return None
    return parts


def spelled_parts(text: str, start: int = 0) -> list[Spelled]:
    """The parts of the content that begins at ``start``.

    Raises:
        NotJson: no content, or no list of parts.
    """
    fields = walk_object(text, start, whole=False)
    if "parts" not in fields:
        return []
    places = walk_array(text, fields["parts"][-1].start)
    return [Spelled(p.value, text[p.start : p.end]) for p in places if isinstance(p.value, dict)]


def replaced(content: str, parts: Iterable[str]) -> bytes:
    """``content`` with other parts; every other field as it was spelled."""
    place = walk_object(content)["parts"][-1]
    return f"{content[: place.start]}[{','.join(parts)}]{content[place.end :]}".encode()


def get(part: Part, camel: str, snake: str) -> object:
    """A field in either spelling."""
    return part.get(camel, part.get(snake))


def is_thought(part: Part) -> bool:
    """A summary of the model's reasoning."""
    return part.get("thought") is True


def is_signed(part: Part) -> bool:
    """It carries a thought signature."""
    return any(part.get(key) for key in SIGNATURES)


def shows(part: Part) -> bool:
    """Whether it is something to show: text, a picture, code that was run."""
    if is_thought(part):
        return False
    text = part.get("text")
    return bool(isinstance(text, str) and text.strip()) or not part.keys() <= _SILENT


def calls_in(parts: Iterable[Part]) -> list[Call]:
    """The function calls among ``parts``."""
    return list(_calls(parts))


def _calls(parts: Iterable[Part]) -> Iterator[Call]:
    for part in parts:
        call = get(part, "functionCall", "function_call")
        if call is None:
            continue
        if not isinstance(call, dict):
            yield Call("", "", call, whole=False)
            continue
        name, arguments = _string(call.get("name")), call.get("args") or {}
        in_pieces = get(call, "partialArgs", "partial_args") or get(
            call, "willContinue", "will_continue"
        )
        whole = bool(name) and isinstance(arguments, dict) and not in_pieces
        yield Call(_string(call.get("id")), name, arguments, whole)


def results_in(parts: Iterable[Part]) -> list[Result]:
    """The function results among ``parts``."""
    found = (get(part, "functionResponse", "function_response") for part in parts)
    return [
        Result(
            _string(result.get("id")),
            _string(result.get("name")),
            json.dumps(result.get("response"), sort_keys=True),
        )
        for result in found
        if isinstance(result, dict)
    ]


def by_place(named: Sequence[Call] | Sequence[Result]) -> list[str]:
    """Name and position of each among those of the same name: what pairs where no id does."""
    seen: Counter[str] = Counter()
    places = []
    for each in named:
        places.append(f"{each.name}#{seen[each.name]}")
        seen[each.name] += 1
    return places


def media_in(parts: Iterable[Part]) -> Iterator[tuple[str, int]]:
    """Each URI or base64 string, with an estimate of its tokens; of results too."""
    for part in parts:
        blob = get(part, "inlineData", "inline_data")
        if isinstance(blob, dict) and isinstance(data := blob.get("data"), str):
            kind = _string(get(blob, "mimeType", "mime_type"))
            image = kind.startswith("image/")
            yield data, _IMAGE_TOKENS if image else len(data) // _MEDIA_BYTES_PER_TOKEN
        file = get(part, "fileData", "file_data")
        if isinstance(file, dict) and isinstance(uri := get(file, "fileUri", "file_uri"), str):
            yield uri, _IMAGE_TOKENS
        result = get(part, "functionResponse", "function_response")
        if isinstance(result, dict):
            yield from media_in(parts_of(result) or [])


def joined(parts: Iterable[Spelled]) -> list[str]:
    """Pieces as the parts that they are of: text that runs on is one part.

    What carries a signature stays a part of its own, were its text empty: only so is it accepted.
    """
    whole: list[str] = []
    run: list[Spelled] = []
    for part in parts:
        if run and not (_is_text(part.value) and _alike(run[-1].value, part.value)):
            whole += _one(run)
            run = []
        if _is_text(part.value):
            run.append(part)
        else:
            whole.append(part.raw)
    return whole + _one(run)


def _one(run: Sequence[Spelled]) -> list[str]:
    said = [part for part in run if part.value.get("text")]
    if len(said) < 2:
        return [part.raw for part in said]
    thought = {"thought": True} if is_thought(said[0].value) else {}
    text = "".join(str(part.value["text"]) for part in said)
    return [dump({"text": text} | thought).decode()]


def _is_text(part: Part) -> bool:
    return part.keys() <= {"text", "thought"} and isinstance(part.get("text"), str)


def _alike(one: Part, other: Part) -> bool:
    return is_thought(one) == is_thought(other)


def without_signature(part: Spelled) -> str:
    """The part as it was spelled, but for its signature."""
    fields = walk_object(part.raw)
    kept = {key: places[-1] for key, places in fields.items() if key not in SIGNATURES}
    pairs = (f"{dump(key).decode()}:{part.raw[p.start : p.end]}" for key, p in kept.items())
    return "{" + ",".join(pairs) + "}"


Keep = Callable[[Spelled], str | None]
"""How a part is told; ``None``: not at all."""


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""
