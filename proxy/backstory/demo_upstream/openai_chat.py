"""OpenAI Chat Completions, the request: messages, tools and limits in, a ``Completion`` out."""

from collections.abc import Iterator, Mapping

from backstory.demo_upstream.answers import reply
from backstory.demo_upstream.facts import Said
from backstory.demo_upstream.openai_completion import Completion
from backstory.demo_upstream.tokens import count_tokens, generate
from backstory.demo_upstream.tools import Call, Tool, choose_call
from backstory.jsonbody import dump

MODEL = "backstory-demo"

_ROLES = {"developer": "system", "function": "tool"}


def complete(fields: Mapping[str, object]) -> Completion | None:
    """The answer to a request body; ``None`` if it has no list of messages."""
    messages = _read_messages(fields.get("messages"))
    if messages is None:
        return None
    answer = reply(messages)
    call = None if answer.known else read_call(messages, fields)
    limit = fields.get("max_completion_tokens") or fields.get("max_tokens")
    model = fields.get("model")
    return Completion(
        model=model if isinstance(model, str) else MODEL,
        said=generate(answer.text, max_tokens=limit, stop=fields.get("stop"))
        if call is None
        else generate(dump(call.arguments).decode()),
        tool=None if call is None else call.name,
        prompt_tokens=count_tokens(text for _, text in messages),
    )


def _read_messages(value: object) -> list[Said] | None:
    if not isinstance(value, list) or not value:
        return None
    messages: list[Said] = []
    for message in value:
        if not isinstance(message, dict) or not isinstance(role := message.get("role"), str):
            return None
        messages.append((_ROLES.get(role, role), read_text(message.get("content"))))
    return messages


def read_text(content: object) -> str:
    """The text of a content that is a string or a list of parts."""
    if not isinstance(content, list):
        return content if isinstance(content, str) else ""
    texts = (part.get("text") for part in content if isinstance(part, dict))
    return "\n".join(text for text in texts if isinstance(text, str))


def read_call(messages: list[Said], fields: Mapping[str, object]) -> Call | None:
    """A call, if a tool is offered that fits what the messages could not answer."""
    role, text = messages[-1]
    if role != "user" or fields.get("tool_choice") == "none":
        return None
    return choose_call(text, list(_read_tools(fields.get("tools"))))


def _read_tools(value: object) -> Iterator[Tool]:
    for tool in value if isinstance(value, list) else []:
        function = tool.get("function") if isinstance(tool, dict) else None
        if isinstance(function, dict) and isinstance(name := function.get("name"), str):
            description = function.get("description")
            yield Tool(
                name,
                description if isinstance(description, str) else "",
                dict(read_arguments(function.get("parameters"))),
            )


def read_arguments(schema: object) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each required string property, with the values it is limited to."""
    if not isinstance(schema, dict):
        return
    properties, required = schema.get("properties"), schema.get("required")
    if not isinstance(properties, dict) or not isinstance(required, list):
        return
    for name, detail in properties.items():
        if name in required and isinstance(detail, dict) and detail.get("type") == "string":
            allowed = detail.get("enum")
            values = allowed if isinstance(allowed, list) else []
            yield name, tuple(value for value in values if isinstance(value, str))
