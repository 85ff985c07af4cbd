"""What tests of Gemini are made of: recorded answers, prompts and messages spelled in short."""

import json
from pathlib import Path

from backstory.model import Answer, Message, Prompt
from backstory_plugins.dialects._gemini import read_message
from backstory_plugins.dialects._gemini_parts import Part
from backstory_plugins.dialects.gemini import Gemini

DATA = Path(__file__).parent / "data" / "gemini"
GEMINI = Gemini()
SSE = "text/event-stream"

THOUGHT: Part = {"text": "hm", "thought": True}
SIGNED_TEXT: Part = {"text": "", "thoughtSignature": "CiQBVKhc7uA="}


def recorded(name: str, *, proved: bool = True) -> Answer:
    """The answer in a file of ``data/gemini``."""
    media_type = SSE if name.endswith(".sse") else "application/json"
    return Answer(200, media_type, (DATA / name).read_bytes(), proved)


def prompt_of(body: bytes) -> Prompt:
    """A request that is understood."""
    prompt = GEMINI.read_prompt(body)
    assert prompt is not None
    return prompt


def prompt(contents: str = "u", *, fields: str = "") -> Prompt:
    """Each letter a content: user, model, function; a hyphen is one without a role."""
    roles = {"u": {"role": "user"}, "m": {"role": "model"}, "f": {"role": "function"}, "-": {}}
    spelled = [{**roles[letter], "parts": [{"text": letter}]} for letter in contents]
    return prompt_of(f'{{"contents":{json.dumps(spelled)}{fields}}}'.encode())


def message_of(role: str, *parts: Part) -> Message:
    """A content of these parts."""
    value = {"role": role, "parts": list(parts)}
    message = read_message(value, json.dumps(value).encode())
    assert message is not None
    return message


def call(name: str, **more: object) -> dict[str, object]:
    """A part that asks for a function."""
    return {"functionCall": {"name": name, "args": {"city": "Oslo"}, **more}}


def result(name: str, **more: object) -> dict[str, object]:
    """A part with what a function returned."""
    return {"functionResponse": {"name": name, "response": {"t": 3}, **more}}
