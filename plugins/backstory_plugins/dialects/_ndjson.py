"""A whole body of JSON lines: an object on each, as Ollama streams them."""

from collections.abc import Iterator

from backstory.jsonbody import NotJson, read_object


def objects(body: bytes) -> Iterator[dict[str, object]]:
    """The object on each line; ``{"error": True}`` stands for a line that holds anything else.

    What the input was cut in is left out. Lines end with LF only: JSON may hold U+2028 as it is.
    """
    *lines, rest = body.split(b"\n")
    for line in lines:
        if line.strip():
            said = _read(line)
            yield {"error": True} if said is None else said
    if (said := _read(rest)) is not None:
        yield said


def _read(line: bytes) -> dict[str, object] | None:
    try:
        return read_object(line)
    except NotJson:
        return None
