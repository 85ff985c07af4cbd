"""The clients of the suite. A new one is a program beside its siblings, a row here, and its recipe.

The recipe and the table's row are in ``docs/clients.md``.
"""

import pytest
from tests.clients.client import Client

CLIENTS = (
    Client(
        name="curl",
        program="python/curl.py",
        home="here",
        change="URL; `-b jar -c jar`",
        ways=("cookie", "header", "prefix"),
        sdk=False,
        jar="process",
    ),
    Client(
        name="node fetch",
        program="node/fetch.mjs",
        home="node",
        change="URL",
        ways=("header", "prefix"),
        sdk=False,
        jar="none",
    ),
    Client(
        name="openai (Python)",
        program="python/openai_sync.py",
        home="here",
        change="`base_url`",
        ways=("header", "prefix", "cookie"),
        sdk=True,
        jar="process",
    ),
    Client(
        name="openai (Python, async)",
        program="python/openai_async.py",
        home="here",
        change="`base_url`",
        ways=("header", "prefix", "cookie"),
        sdk=True,
        jar="process",
    ),
    Client(
        name="litellm",
        program="python/litellm_completion.py",
        home="venv",
        change="`api_base`, model `openai/NAME`",
        ways=("header", "prefix", "cookie"),
        sdk=True,
        jar="key",
    ),
    Client(
        name="langchain-openai",
        program="python/langchain_history.py",
        home="venv",
        change="`base_url`",
        ways=("header", "prefix", "cookie"),
        sdk=True,
        jar="process",
        transcript=True,
    ),
    Client(
        name="llm",
        program="python/llm_continue.py",
        home="venv",
        change="`api_base` in `extra-openai-models.yaml`",
        ways=("header", "prefix"),
        sdk=True,
        jar="none",
        transcript=True,
        shows_headers=False,
    ),
    Client(
        name="openai (npm)",
        program="node/openai.mjs",
        home="npm",
        change="`baseURL`",
        ways=("header", "prefix"),
        sdk=True,
        jar="none",
    ),
    Client(
        name="ai, @ai-sdk/openai-compatible (npm)",
        program="node/ai.mjs",
        home="npm",
        change="`baseURL`",
        ways=("header", "prefix"),
        sdk=True,
        jar="none",
    ),
)

REWRITING = Client(
    name="a client that rewrites its transcript",
    program="python/openai_rewriting.py",
    home="here",
    change="",
    ways=("header", "cookie"),
    sdk=True,
    jar="process",
    transcript=True,
)
"""No product, so no row: it does what aider does to its old messages."""


def param(client: Client, *more: object) -> object:
    """A parameter of a test, marked if the client is a long one."""
    marks = [pytest.mark.long(client.long)] if client.long else []
    return pytest.param(client, *more, id="-".join([client.name, *map(str, more)]), marks=marks)
