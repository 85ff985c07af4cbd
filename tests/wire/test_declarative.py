"""An API that nobody here has heard of remembers, by nothing but a configuration.

The page ``docs/declarative.md`` is run as it stands: its configuration, and its lines for a shell.
"""

import asyncio
import json
import re
import shutil
import sys
import tomllib
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest
from tests.plugins.dialects.declared import options_of
from tests.wire.answers import respond
from tests.wire.clients import RawClient, request
from tests.wire.conftest import Proxy, StartProxy, token
from tests.wire.messages import read_head
from tests.wire.parley import END, answer, parley
from tests.wire.server import Server, environment, reserved_port
from tests.wire.shell import typed
from tests.wire.talking import AUTHORIZATION, NAMED, ask, one, stored
from tests.wire.upstreams import Answer, RecordingUpstream

from backstory.config import load
from backstory.settings import RouteSettings

PAGE = (Path(__file__).parents[2] / "docs/declarative.md").read_text(encoding="utf-8")
PARLEY, ORACLE = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
(LINES,) = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
EXPORT = f"export JWT_TOKEN='Bearer {token()}'\n"
SAY = "/v2/agents/clerk/say"

ROUTES = (
    RouteSettings(
        match="/v2/agents/{agent}/say",
        dialect="declarative",
        options=tomllib.loads(PARLEY)["route"][0]["options"],
    ),
    RouteSettings(match="/oracle", dialect="declarative", options=options_of("oracle")),
    RouteSettings(match="/parrot", dialect="declarative", options=options_of("parrot")),
)


def guest(text: str, **more: object) -> object:
    return {"dialogue": [{"speaker": "guest", "utterance": text}], **more}


def spoken(upstream: RecordingUpstream) -> list[tuple[str, str]]:
    """The dialogue of the last request."""
    dialogue = json.loads(upstream.requests[-1].body)["dialogue"]
    return [(message["speaker"], message["utterance"]) for message in dialogue]


@pytest.fixture
async def proxy(start_proxy: StartProxy, recording_upstream: RecordingUpstream) -> Proxy:
    """In front of Parley, until a test changes what the upstream says."""
    recording_upstream.script = parley
    return await start_proxy(recording_upstream.url, routes=ROUTES)


async def test_the_page_does_what_it_says(
    tmp_path: Path, recording_upstream: RecordingUpstream
) -> None:
    if shutil.which("curl") is None:
        pytest.skip("server missing: curl, which people try it with")
    recording_upstream.script = parley
    file = tmp_path / "parley.toml"
    file.write_text(PARLEY)
    with reserved_port() as port:
        env = {"BACKSTORY_CONFIG": str(file)}
        async with Server(tmp_path, port, recording_upstream.url, env) as server:
            said = await typed(EXPORT + LINES, tmp_path, server.url)
            assert server.complaints() == []
    first, events = said.split("}}", 1)
    assert json.loads(first + "}}")["answer"]["utterance"] == "Room 214, très bien."
    pieces = [json.loads(data) for data in re.findall(r"data: (\{.*)", events)]
    assert "".join(piece.get("utterance", "") for piece in pieces) == "Room 214, très bien."
    assert events.endswith("data: [END]\n\n")
    asked, again = recording_upstream.requests
    wanted, which = re.findall(r"-d '(.*)'", LINES)
    assert asked.body == wanted.encode()
    told = (
        '{"speaker":"guest","utterance":"I would like room 214, please."},'
        ' {"speaker":"clerk","utterance":"Room 214, très bien."}, '
    )
    assert again.body == which.replace("[{", f"[{told}{{").encode()


async def test_parley_itself_forgets(recording_upstream: RecordingUpstream) -> None:
    recording_upstream.script = parley
    bare = Proxy(recording_upstream.port, None)  # type: ignore[arg-type]  # no proxy in front
    await ask(bare, SAY, guest("Room 214, please."))
    answer = await ask(bare, SAY, guest("Which room?"))
    assert json.loads(answer.content)["answer"]["utterance"] == "You named no room."


def test_the_other_configuration_of_the_page_is_one(tmp_path: Path) -> None:
    file = tmp_path / "oracle.toml"
    file.write_text(ORACLE)
    environ = {"BACKSTORY_JWT_SECRET": "s" * 32}
    assert load({}, environ, file=str(file)).routes[0].match == "/oracle"


@pytest.mark.parametrize("live", [False, True])
async def test_three_turns(live: bool, proxy: Proxy, recording_upstream: RecordingUpstream) -> None:
    for text, receipt, room in (
        ("Room 7, please.", "new;turns=0;omitted=0;", b"7"),
        ("No, 214!", "hit;turns=1;omitted=0;", b"214"),
        ("Which room?", "hit;turns=2;omitted=0;", b"214"),
    ):
        got = await ask(proxy, SAY, guest(text, live=live), NAMED)
        assert (one(got, b"Backstory-Memory") or "").startswith(receipt)
        assert b" " + room in got.content
    assert spoken(recording_upstream) == [
        ("guest", "Room 7, please."),
        ("clerk", "Room 7, très bien."),
        ("guest", "No, 214!"),
        ("clerk", "Room 214, très bien."),
        ("guest", "Which room?"),
    ]
    assert len(await stored(proxy)) == 3


async def test_a_transcript_is_not_told_twice(
    proxy: Proxy, recording_upstream: RecordingUpstream
) -> None:
    await ask(proxy, SAY, guest("Room 7, please."), NAMED)
    whole = {
        "dialogue": [
            {"speaker": "guest", "utterance": "Room 7, please."},
            {"speaker": "clerk", "utterance": "Room 7, très bien."},
            {"speaker": "guest", "utterance": "Which room?"},
        ]
    }
    got = await ask(proxy, SAY, whole, NAMED)
    assert "as=transcript" in (one(got, b"Backstory-Memory") or "")
    assert recording_upstream.requests[-1].body == json.dumps(whole).encode()
    assert len(await stored(proxy)) == 2


async def test_one_conversation_through_three_apis(
    proxy: Proxy, recording_upstream: RecordingUpstream
) -> None:
    await ask(proxy, SAY, guest("Room 7, please."), NAMED)
    recording_upstream.script = respond([b" A key", b".</A>"], "text/plain", "close")
    await ask(proxy, "/oracle", {"ask": {"question": "What does it need?"}}, NAMED)
    asked = json.loads(recording_upstream.requests[-1].body)["ask"]["question"]
    assert asked == (
        "<Q>Room 7, please.</Q>\n<A>Room 7, très bien.</A>\n<Q>What does it need?</Q>\n<A>"
    )
    lines = [b'{"delta":"Of', b' brass."}\n', b'{"done":true,"state":"done"}\n']
    recording_upstream.script = respond(lines, "application/x-ndjson", "chunked")
    say = [{"text": "Of what?"}]
    turns = [{"kind": "turn", "by": {"role": "u"}, "say": say}]
    await ask(proxy, "/parrot", {"input": {"turns": turns}}, NAMED)
    told = json.loads(recording_upstream.requests[-1].body)["input"]["turns"]
    assert [(turn["by"]["role"], turn["say"][0]["text"]) for turn in told[2:]] == [
        ("u", "What does it need?"),
        ("a", " A key."),
        ("u", "Of what?"),
    ]
    assert await stored(proxy) == ["Room 7, très bien.", " A key.", "Of brass."]


@pytest.mark.parametrize(
    "said",
    [
        answer("Room 7", live=True, ended="refused"),
        answer("Room 7", live=False, ended="unheard of"),
        answer("", live=True),
        respond(
            [b'{"fault": {"kind": "x"}, "answer": {"utterance": "y"}}'],
            "application/json",
            "length",
        ),
        respond([b'data: {"utterance":"Room 7"}\n\n', END], "text/event-stream", "chunked"),
    ],
    ids=["filtered", "unknown word", "empty", "fault", "no word"],
)
async def test_what_is_not_whole_is_relayed_and_not_remembered(
    said: bytes, proxy: Proxy, recording_upstream: RecordingUpstream
) -> None:
    recording_upstream.script = said
    got = await ask(proxy, SAY, guest("Room?"), NAMED)
    assert got.complete
    assert await stored(proxy) == []


async def test_the_end_is_held_back_until_the_turn_is_durable(
    proxy: Proxy, recording_upstream: RecordingUpstream
) -> None:
    """The upstream has said all but the zero chunk: the client has all but the end."""
    whole, gate = answer("Room 7", live=True), asyncio.Event()
    last = b"0\r\n\r\n"
    recording_upstream.script = Answer([whole.removesuffix(last), gate, last])
    async with RawClient(proxy.url) as client:
        await client.send(request("POST", SAY, guest("Hi", live=True), AUTHORIZATION, NAMED))
        head = await read_head(client.connection)
        assert head.status == 200
        await client.connection.read_until(b'"done"}\n\n\r\n')
        assert await stored(proxy) == []  # a whole exchange later: what was to come has come
        assert client.connection.take(100) == b""
        gate.set()
        assert (await client.connection.read_until(b"\r\n0\r\n\r\n")).endswith(END + b"\r\n" + last)
    assert await stored(proxy) == ["Room 7"]


async def test_an_error_of_ours_is_spelled_as_parley_does(proxy: Proxy) -> None:
    got = await ask(proxy, SAY, guest("Hi"), ("Authorization", "Bearer x"))
    assert (got.status, one(got, b"Backstory-Error")) == (401, "invalid_token")
    assert json.loads(got.content)["fault"]["kind"] == "invalid_token"


async def test_what_is_not_understood_is_parleys_to_answer(
    proxy: Proxy, recording_upstream: RecordingUpstream
) -> None:
    body = b'{"dialogue": [{"speaker": "tool", "utterance": "x"}]}'
    got = await ask(proxy, SAY, body, NAMED)
    assert one(got, b"Backstory-Memory") == "skipped;reason=not_understood"
    assert json.loads(got.content) == {"fault": {"kind": "puzzled"}}
    assert recording_upstream.requests[-1].body == body


async def test_every_problem_is_said_before_it_starts(tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(
        PARLEY.replace('"$.dialogue"', '"dialogue"')
        .replace('kind = "sse"', 'kind = "sse"\npiece = "$.x"')
        .replace('upstream = "http://127.0.0.1:8000"', 'upstream = "nowhere"\nqueue_depth = "x"')
    )
    serve = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "backstory", "serve", "--config", str(file)),
        env=environment(),
        cwd=tmp_path,
        stderr=PIPE,
    )
    _, said = await serve.communicate()
    assert serve.returncode == 2
    assert [line.split(": ")[1] for line in said.decode().splitlines()] == [
        "queue_depth",
        "upstream",
        "jwt_secret",
        "route 1 options.prompt",
        "route 1 options.stream.piece",
    ]
