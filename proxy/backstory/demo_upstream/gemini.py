"""Gemini: contents and function declarations in; one object, an array in pieces, or events out."""

import json
from collections.abc import Iterator, Mapping

from backstory.demo_upstream import openai_chat
from backstory.demo_upstream.openai_completion import Completion
from backstory.jsonbody import dump

_Fields = dict[str, object]

_ROLES = {"model": "assistant", "function": "tool"}


def complete(model: str, fields: Mapping[str, object]) -> Completion | None:
    """The answer to a request body; ``None`` if its ``contents`` are no list of contents."""
    contents = fields.get("contents")
    if not isinstance(contents, list):
        return None
    messages = [_message(content) for content in contents]
    if system := _text(_get(fields, "systemInstruction", "system_instruction")):
        messages.insert(0, {"role": "system", "content": system})
    config = _object(_get(fields, "generationConfig", "generation_config"))
    return openai_chat.complete(
        {
            "model": model,
            "messages": messages,
            "tools": [{"function": tool} for tool in _declared(fields.get("tools"))],
            "max_tokens": _get(config, "maxOutputTokens", "max_output_tokens"),
            "stop": _get(config, "stopSequences", "stop_sequences"),
        }
    )


def whole(answer: Completion) -> bytes:
    """One response object."""
    parts: list[_Fields] = [{"text": answer.said.text}]
    if answer.tool is not None:
        parts = [_called(answer)]
    return dump(_response(answer, parts, _finish(answer)))


def events(answer: Completion) -> Iterator[bytes]:
    """Each response object as an event; nothing says which is the last."""
    for response in _responses(answer):
        yield b"data: " + dump(response) + b"\r\n\r\n"


def array(answer: Completion) -> Iterator[bytes]:
    """The same objects as the elements of one array."""
    before = b"["
    for response in _responses(answer):
        yield before + dump(response)
        before = b",\r\n"
    yield b"]\n"


def error(message: str) -> bytes:
    """The body of a refusal, whose status is 400."""
    return dump({"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}})


def _message(content: object) -> _Fields:
    """A content as a message of Chat Completions; one without a role is refused there."""
    fields = _object(content)
    role = fields.get("role") or "user"
    if results := [
        _object(result).get("response")
        for part in _parts(fields)
        if (result := _get(part, "functionResponse", "function_response"))
    ]:
        return {"role": "tool", "content": " ".join(map(_spoken, results))}
    named = _ROLES.get(role, role) if isinstance(role, str) and fields else None
    return {"role": named, "content": _text(fields)}


def _spoken(response: object) -> str:
    """What a function returned: ``{"result": …}`` by convention."""
    result = _object(response).get("result")
    return result if isinstance(result, str) else json.dumps(response)


def _text(content: object) -> str:
    texts = (part.get("text") for part in _parts(_object(content)))
    return "\n".join(text for text in texts if isinstance(text, str))


def _parts(content: Mapping[str, object]) -> list[_Fields]:
    parts = content.get("parts")
    return [_object(part) for part in parts] if isinstance(parts, list) else []


def _declared(tools: object) -> Iterator[_Fields]:
    """Function declarations, their types spelled as in JSON Schema: Gemini's are upper case."""
    for tool in tools if isinstance(tools, list) else []:
        declared = _get(_object(tool), "functionDeclarations", "function_declarations")
        for function in declared if isinstance(declared, list) else []:
            fields = _object(function)
            plain = _get(fields, "parametersJsonSchema", "parameters_json_schema")
            schema = _object(plain or fields.get("parameters"))
            properties = {
                name: _object(detail) | {"type": str(_object(detail).get("type")).lower()}
                for name, detail in _object(schema.get("properties")).items()
            }
            yield fields | {"parameters": schema | {"properties": properties}}


def _responses(answer: Completion) -> Iterator[_Fields]:
    said: list[_Fields] = [{"text": token} for token in answer.said.tokens]
    *others, last = (said if answer.tool is None else [_called(answer)]) or [{"text": ""}]
    for part in others:
        yield _response(answer, [part], None)
    yield _response(answer, [last], _finish(answer))


def _called(answer: Completion) -> _Fields:
    return {"functionCall": {"name": answer.tool, "args": json.loads(answer.said.text)}}


def _finish(answer: Completion) -> str:
    return "MAX_TOKENS" if answer.said.truncated else "STOP"


def _response(answer: Completion, parts: list[_Fields], finish: str | None) -> _Fields:
    candidate: _Fields = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = finish
    said = len(answer.said.tokens)
    usage = {
        "promptTokenCount": answer.prompt_tokens,
        "candidatesTokenCount": said,
        "totalTokenCount": answer.prompt_tokens + said,
    }
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": answer.model}


def _object(value: object) -> _Fields:
    return value if isinstance(value, dict) else {}


def _get(fields: Mapping[str, object], camel: str, snake: str) -> object:
    return fields.get(camel, fields.get(snake))
