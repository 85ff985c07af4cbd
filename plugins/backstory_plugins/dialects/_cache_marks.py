"""``cache_control``: a request may have four marks, so what memory tells has none.

The marks stand in blocks, and in blocks inside of tool results; the same word in a tool's input
is the tool's own and stays.
"""

from collections.abc import Mapping

from backstory.jsonbody import NotJson, Value, decode, dump, walk_array, walk_object

_MARK = "cache_control"
_DEEPEST = 2  # blocks, and blocks inside of them


def unmarked_value(value: object, depth: int = _DEEPEST) -> object:
    """A content, a list of tools or a system prompt without the marks in it."""
    if not isinstance(value, list) or not depth:
        return value
    return [_unmarked(block, depth) if isinstance(block, dict) else block for block in value]


def _unmarked(block: Mapping[str, object], depth: int) -> dict[str, object]:
    return {
        key: unmarked_value(inside, depth - 1) if key == "content" else inside
        for key, inside in block.items()
        if key != _MARK
    }


def unmarked(raw: bytes) -> bytes:
    """A message without the marks in it, every other value as it is spelled."""
    if _MARK.encode() not in raw:
        return raw
    try:
        text = decode(raw)
        return _respelled(text, walk_object(text), _DEEPEST)
    except NotJson:
        return raw


def _respelled(text: str, fields: Mapping[str, list[Value]], depth: int) -> bytes:
    """The object of ``fields`` without the marks in its content, ``depth`` lists of blocks deep."""
    spelled = []
    for key, places in fields.items():
        place = places[-1]
        if key == "content" and isinstance(place.value, list) and depth:
            items = walk_array(text, place.start)
            inside = [_spelled_block(text, item, depth - 1) for item in items]
            spelled.append(b'"content":[' + b",".join(inside) + b"]")
        else:
            spelled.append(dump(key) + b":" + text[place.start : place.end].encode())
    return b"{" + b",".join(spelled) + b"}"


def _spelled_block(text: str, item: Value, depth: int) -> bytes:
    if not isinstance(item.value, dict):
        return text[item.start : item.end].encode()
    fields = walk_object(text, item.start, whole=False)
    fields.pop(_MARK, None)
    return _respelled(text, fields, depth)
