"""JSON bodies whose bytes stay as they are: where each value begins and ends, and no more.

Parsing and writing back would turn ``1E400`` into something that is not JSON, ``0.10`` into
``0.1``, and lose duplicate keys and spacing. So a body is read into values *and places*, and what
is put in is pasted between them. Only C-accelerated pieces of the standard library walk the text.
"""

import json
import re
from collections.abc import Container
from json.decoder import scanstring  # type: ignore[attr-defined]  # not in typeshed
from typing import NamedTuple

_decode = json.JSONDecoder().scan_once  # type: ignore[attr-defined]  # not in typeshed
_value = tuple.__new__
# Each takes the blanks behind it, too.
_opening = re.compile(r"[ \t\n\r]*([\[{])[ \t\n\r]*").match
_separator = re.compile(r"[ \t\n\r]*([,\]}])[ \t\n\r]*").match
_field = r'[ \t\n\r]*"([^"\\\x00-\x1f]*)"[ \t\n\r]*:[ \t\n\r]*'
_first_field = re.compile(r"[ \t\n\r]*\{" + _field).match
_next_field = re.compile(r"[ \t\n\r]*," + _field).match
_empty_object = re.compile(r"[ \t\n\r]*\{[ \t\n\r]*\}[ \t\n\r]*").match
_object_end = re.compile(r"[ \t\n\r]*\}[ \t\n\r]*").match
_colon = re.compile(r"[ \t\n\r]*:[ \t\n\r]*").match


class Value(NamedTuple):
    """A JSON value and its place in the text: ``text[start:end]`` is how it was spelled."""

    value: object
    start: int
    end: int


class NotJson(ValueError):
    """Not a JSON object that this proxy reads: the upstream shall answer it."""


def decode(body: bytes) -> str:
    """The body as text.

    Raises:
        NotJson: not UTF-8, or it begins with a byte order mark (RFC 8259 section 8.1).
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise NotJson("not UTF-8") from exc
    if text.startswith("\ufeff"):
        raise NotJson("byte order mark")
    return text


def walk_object(
    text: str,
    start: int = 0,
    *,
    whole: bool = True,
    arrays: Container[str] = (),
    resumes: int = 0,
) -> dict[str, list[Value]]:
    """Every key of the object at ``start`` with all the values it is given, in order.

    Args:
        text: the JSON.
        start: where the object begins, or blanks before it.
        whole: nothing but white space may stand around it.
        arrays: keys of which an array is walked in the same go: its value is a ``list`` of ``Value``.
        resumes: where the first elements of such an array were left out of the text, right behind
            its bracket; what stands there is what follows them. 0: nowhere.

    Raises:
        NotJson: no object there, trailing data, or nested too deep.
    """
    fields: dict[str, list[Value]] = {}
    try:
        at, field, end = start, _first_field, _empty_object
        while True:
            found = field(text, at)
            if found is not None:
                key, begin = found[1], found.end()
            elif (found := end(text, at)) is None:
                key, begin = _odd_field(text, at, "{" if at == start else ",")
            else:
                break
            field, end = _next_field, _object_end
            value: object
            if key in arrays and text[begin] == "[":
                value, at = _walk_array(text, begin, resumes=begin + 1 == resumes)
            else:
                value, at = _decode(text, begin)
            place = _value(Value, (value, begin, at))
            if key in fields:
                fields[key].append(place)
            else:
                fields[key] = [place]
        if whole and found.end() != len(text):
            raise NotJson("trailing data")
    except (IndexError, RecursionError, StopIteration, ValueError) as exc:
        raise NotJson(str(exc)) from exc
    return fields


def walk_array(text: str, start: int) -> list[Value]:
    """The elements of the array that begins at ``start``.

    Raises:
        NotJson: no array there, or nested too deep.
    """
    try:
        if text[start] != "[":
            raise NotJson("not an array")
        return _walk_array(text, start)[0]
    except (IndexError, RecursionError, StopIteration, ValueError) as exc:
        raise NotJson(str(exc)) from exc


def _walk_array(text: str, start: int, *, resumes: bool = False) -> tuple[list[Value], int]:
    elements: list[Value] = []
    found = _separator(text, start + 1) if resumes else _opening(text, start)
    if found is not None and not resumes and text[found.end()] == "]":
        found = _separator(text, found.end())
    while found is not None and found[1] != "}":
        if found[1] == "]":
            return elements, found.end(1)
        at = found.end()
        value, end = _decode(text, at)
        elements.append(_value(Value, (value, at, end)))
        found = _separator(text, end)
    raise NotJson("no comma between two items")


def _odd_field(text: str, at: int, before: str) -> tuple[str, int]:
    """A key of any spelling, which stands behind ``before``, and where its value begins."""
    opening = _opening(text, at) if before == "{" else _separator(text, at)
    if opening is None or opening[1] != before or text[opening.end()] != '"':
        raise NotJson("no object, or no key where one must be")
    key, end = scanstring(text, opening.end() + 1)
    colon = _colon(text, end)
    if colon is None:
        raise NotJson("a key without a value")
    return key, colon.end()


def read_object(body: bytes) -> dict[str, object]:
    """The JSON object in ``body``; of a key given twice, the last value.

    Raises:
        NotJson: not UTF-8, not an object, or nested too deep.
    """
    return read_object_text(decode(body))


def read_object_text(text: str) -> dict[str, object]:
    """As ``read_object``, of text."""
    opening = _opening(text, 0)
    if opening is None or opening[1] != "{":
        raise NotJson("not an object")
    try:
        value, end = _decode(text, opening.start(1))
    except (RecursionError, StopIteration, ValueError) as exc:
        raise NotJson(str(exc)) from exc
    if text[end:].strip(" \t\n\r"):
        raise NotJson("trailing data")
    assert isinstance(value, dict)
    return value


def dump(value: object) -> bytes:
    """Compact JSON; non-ASCII as it is, unless it could not be UTF-8."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # a lone surrogate: only its escape can be sent
        return json.dumps(value, separators=(",", ":")).encode()
