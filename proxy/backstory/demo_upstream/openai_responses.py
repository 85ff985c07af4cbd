"""OpenAI Responses, the request: items, tools and limits in, a ``Response`` out. Nothing is kept."""

from collections.abc import Mapping, Sequence

from backstory.demo_upstream.answers import reply
from backstory.demo_upstream.facts import Said
from backstory.demo_upstream.openai_chat import MODEL, read_call, read_text
from backstory.demo_upstream.openai_response import Response
from backstory.demo_upstream.tokens import count_tokens, generate
from backstory.jsonbody import dump

_STATE = ("previous_response_id", "conversation", "background")


class Refused(Exception):
    """A request that is answered with 400: the message, and the field that is to blame."""

    def __init__(self, message: str, param: str) -> None:
        """See the class."""
        super().__init__(message)
        self.param = param


def respond(fields: Mapping[str, object]) -> Response:
    """The answer to a request body.

    Raises:
        Refused: it has no input, or refers to what a stateless server does not have.
    """
    for name in _STATE:
        if fields.get(name):
            raise Refused(f"This demo keeps nothing between requests: no '{name}'.", name)
    messages = _read_input(fields.get("input"))
    instructions = fields.get("instructions")
    if isinstance(instructions, str):
        messages.insert(0, ("system", instructions))
    answer = reply(messages)
    call = None
    if not answer.known:
        call = read_call(messages, {**fields, "tools": _as_in_chat(fields.get("tools"))})
    model = fields.get("model")
    return Response(
        model=model if isinstance(model, str) else MODEL,
        said=generate(answer.text, max_tokens=fields.get("max_output_tokens"))
        if call is None
        else generate(dump(call.arguments).decode()),
        tool=None if call is None else call.name,
        prompt_tokens=count_tokens(text for _, text in messages),
    )


def _as_in_chat(tools: object) -> list[object]:
    """Tools as Chat Completions spells them: what a function is, one level deeper."""
    return [{"function": tool} for tool in tools] if isinstance(tools, list) else []


def _read_input(value: object) -> list[Said]:
    if isinstance(value, str):
        return [("user", value)]
    if not isinstance(value, list) or not value:
        raise Refused("'input' must be a string or a list of items.", "input")
    items = [item for item in value if isinstance(item, dict)]
    if len(items) != len(value):
        raise Refused("Each item of 'input' must be an object.", "input")
    _check_references(items)
    _check_calls(items)
    messages = []
    for item in items:
        kind = item.get("type", "message")
        if kind == "message":
            role = item.get("role")
            if not isinstance(role, str):
                raise Refused("A message needs a role.", "input")
            said = "system" if role == "developer" else role
            messages.append((said, read_text(item.get("content"))))
        elif kind == "function_call":
            messages.append(("assistant", ""))
        elif kind == "function_call_output":
            messages.append(("tool", read_text(item.get("output"))))
    return messages


def _check_references(items: Sequence[Mapping[str, object]]) -> None:
    for item in items:
        if item.get("type") == "item_reference":
            ident = item.get("id")
            raise Refused(f"This demo keeps nothing between requests: no item '{ident}'.", "input")


def _check_calls(items: Sequence[Mapping[str, object]]) -> None:
    """Every call needs its output, and every output its call: the real API refuses others too."""
    calls = [item.get("call_id") for item in items if item.get("type") == "function_call"]
    outputs = [item.get("call_id") for item in items if item.get("type") == "function_call_output"]
    for call in calls:
        if call not in outputs:
            raise Refused(f"No tool output found for function call {call}.", "input")
    for output in outputs:
        if output not in calls:
            raise Refused(
                f"No tool call found for function call output with call_id {output}.", "input"
            )
