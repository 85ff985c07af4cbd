"""A thousand requests of every kind, with and without the proxy in between: nothing differs.

Each is drawn by its name (seed and number) and sent twice as the same bytes: to an upstream, and
through ``backstory serve`` to another one. The upstreams answer by the request's name, so both say
the same. What is compared are both ends: what the upstreams got, and what the clients got.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tests.wire.clients import RawClient, Received
from tests.wire.comparison import (
    at_the_client,
    at_the_upstream,
    difference,
    forwarded,
    name_of,
)
from tests.wire.connection import Ended
from tests.wire.drawn_answers import STATUSES, answer_to
from tests.wire.drawn_requests import FIELDS, METHODS, DrawnRequest, drawn
from tests.wire.messages import Body, Malformed
from tests.wire.server import Server, reserved_port
from tests.wire.talking import head
from tests.wire.upstreams import Answer, RecordingUpstream, Request

SEED = "1"
COUNT = 1000
LANES = 4


def answered(seen: Request) -> Answer:
    """The upstreams' script."""
    return answer_to(name_of(seen), seen.method.decode())


class Caller:
    """Sends draws to one server, on as few connections as it lets it."""

    def __init__(self, url: str, *, asks_to_go_on: bool) -> None:
        self._url = url
        self._asks_to_go_on = asks_to_go_on
        self.got: dict[str, Received] = {}
        self.failed: dict[str, Exception] = {}

    async def call(self, requests: Sequence[DrawnRequest], *, pipelined: bool) -> None:
        """One connection; the answers are in ``got``, or in ``failed`` why there are none."""
        async with RawClient(self._url) as client:
            if pipelined:
                await client.send(
                    b"".join(request.head + b"".join(request.body) for request in requests)
                )
            for request in requests:
                try:
                    if not pipelined:
                        await self._send(client, request)
                    self.got[request.name] = await read(client, request.method)
                except (Ended, Malformed, ConnectionError, TimeoutError) as exc:
                    self.failed[request.name] = exc
                    return

    async def _send(self, client: RawClient, request: DrawnRequest) -> None:
        await client.send(request.head)
        if request.expects and self._asks_to_go_on:
            head = await client.read_head()
            if head.status != 100:
                raise Malformed(f"not asked to go on: {head.raw!r}")
        await client.send(*request.body)


async def read(client: RawClient, method: str) -> Received:
    """The answer to one request."""
    head = await client.read_head()
    return Received(head, Body(complete=True) if method == "HEAD" else await client.read_body(head))


def connections(requests: Iterable[DrawnRequest]) -> Iterable[list[DrawnRequest]]:
    """The same in groups, each for one connection: its last is one that ends it, or the eighth."""
    group: list[DrawnRequest] = []
    for request in requests:
        group.append(request)
        ends = request.leaves or answer_to(request.name, request.method).then != "next"
        if ends or len(group) == 8:
            yield group
            group = []
    if group:
        yield group


def is_pipelined(group: Sequence[DrawnRequest], number: int) -> bool:
    """Every third group that can be is sent at once."""
    return number % 3 == 0 and len(group) > 1 and all(r.may_be_pipelined for r in group)


async def compare(directly: Caller, through: Caller, requests: Sequence[DrawnRequest]) -> None:
    """Send these both ways."""
    for number, group in enumerate(connections(requests)):
        pipelined = is_pipelined(group, number)
        async with asyncio.TaskGroup() as both:
            for caller in (directly, through):
                _ = both.create_task(caller.call(group, pipelined=pipelined))


def differences(
    requests: Sequence[DrawnRequest],
    callers: tuple[Caller, Caller],
    upstreams: tuple[RecordingUpstream, RecordingUpstream],
    auth: str,
) -> list[str]:
    """What is not the same at the upstream or at the client, for each request where there is any."""
    directly, through = callers
    sent, arrived = ({name_of(seen): seen for seen in one.requests} for one in upstreams)
    host = f"127.0.0.1:{upstreams[1].port}".encode()
    found = []
    for request in requests:
        name = request.name
        told = [f"{caller.failed[name]!r}" for caller in callers if name in caller.failed]
        if name in sent and name in arrived:
            expected = forwarded(sent[name], auth, host)
            told.append(difference("at the upstream", expected, at_the_upstream(arrived[name])))
        if name in directly.got and name in through.got:
            answers = directly.got[name], through.got[name]
            dated = bool(answers[0].head.values(b"date"))
            lines = [at_the_client(request, answer, dated=dated) for answer in answers]
            told.append(difference("at the client", *lines))
        told = [text for text in told if text]
        if name not in through.got and not told:
            told.append("no answer, because of one before it on the same connection")
        if told:
            found.append("\n".join([f"drawn({name!r}): {request.head[:400]!r}", *told]))
    return found


@pytest.mark.parametrize("auth", ["off", "jwt"])
async def test_a_thousand_requests_of_every_kind_are_the_same_with_and_without_us(
    auth: str, tmp_path: Path
) -> None:
    requests = [drawn(f"{SEED} {auth} {number}") for number in range(COUNT)]
    async with RecordingUpstream(answered) as direct, RecordingUpstream(answered) as behind:
        with reserved_port() as port:
            env = {"BACKSTORY_AUTH": auth}
            async with Server(tmp_path, port, behind.url, env) as server:
                directly = Caller(direct.url, asks_to_go_on=False)
                through = Caller(server.url, asks_to_go_on=True)
                async with asyncio.TaskGroup() as lanes:
                    for lane in range(LANES):
                        some = requests[lane::LANES]
                        _ = lanes.create_task(compare(directly, through, some))
                found = differences(requests, (directly, through), (direct, behind), auth)
                assert not found, f"{len(found)} differ; the first:\n" + "\n\n".join(found[:3])
                assert len(direct.requests) == len(behind.requests) == len(through.got) == COUNT
                assert behind.cut == direct.cut == []
                assert await server.stop() == 0
                assert server.complaints() == []


def test_every_kind_is_drawn() -> None:
    requests = [drawn(f"{SEED} jwt {number}") for number in range(COUNT)]
    heads = b"".join(request.head for request in requests)
    answers = [answer_to(request.name, request.method) for request in requests]
    assert {request.method for request in requests} == set(METHODS)
    assert all(name.lower().encode() + b":" in heads.lower() for name, _ in FIELDS)
    said = b"".join(step for answer in answers for step in answer.steps if isinstance(step, bytes))
    assert all(status.encode() in said for status in STATUSES)
    for kind in (b"\r\n\r\n0\r\n\r\n", b"HTTP/1.0 ", b"chunked", b"X-Sum: 1", b"event-stream"):
        assert kind in said, kind
    groups = list(connections(requests))
    assert sum(map(is_pipelined, groups, range(len(groups)))) > 10
    assert max(map(len, groups)) > 5
    for wanted in ("has_memory", "expects", "leaves"):
        assert sum(getattr(request, wanted) for request in requests) > 20, wanted
    assert sum(b"key=AIza" in request.head for request in requests) > 20
    assert sum(answer.then == "fin" for answer in answers) > 100


CHANGES: dict[str, Callable[[Request], Request]] = {
    "a byte of the body": lambda seen: replace(
        seen, framed=replace(seen.framed, chunks=[seen.body[:-1] + b"!"])
    ),
    "an escape of the target": lambda seen: of_head(seen, start=(b"PUT", b"/A?b", b"HTTP/1.1")),
    "the method": lambda seen: of_head(seen, start=(b"put", b"/%41?b", b"HTTP/1.1")),
    "the order": lambda seen: of_head(seen, headers=[*seen.headers[1:], seen.headers[0]]),
    "a second one": lambda seen: of_head(seen, headers=[*seen.headers, seen.headers[-1]]),
    "the case of a name": lambda seen: of_head(
        seen, headers=[(name.lower(), value) for name, value in seen.headers]
    ),
    "the framing": lambda seen: of_head(
        seen, headers=[*seen.headers[:-1], (b"Transfer-Encoding", b"chunked")]
    ),
}


def of_head(seen: Request, **changes: object) -> Request:
    """The same request with another head."""
    return replace(seen, head=replace(seen.head, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_a_difference_is_told(
    change: Callable[[Request], Request], recording_upstream: RecordingUpstream
) -> None:
    async with RawClient(recording_upstream.url) as client:
        fields = (("X-One", "1"), ("x-two", "2"), ("Content-Length", "3"))
        await client.send(head("PUT /%41?b HTTP/1.1", *fields) + b"abc")
        seen = await recording_upstream.wait_for_request()
    lines = at_the_upstream(seen)
    assert difference("x", lines, at_the_upstream(seen)) == ""
    assert difference("x", lines, at_the_upstream(change(seen))) != ""
