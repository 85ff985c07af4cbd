"""What is measured: each scenario loads one peer once and gives values of one or more figures.

CPU is that of the peer's process, all threads, user and system, divided by what was done. It is the
measure because wall times on a shared machine mostly show its other users. Before each measurement
comes a warm-up of the same kind.
"""

from collections.abc import Callable
from dataclasses import dataclass

from scripts.bench.asking import Client, Seen, Stream
from scripts.bench.machine import cpu_seconds, resident_kb
from scripts.bench.peers import Peer
from scripts.bench.serving import Server

FIFTY_A_SECOND, AT_ONCE, SHORT = Stream(200, 20_000), Stream(100, 0), Stream(10, 10_000)
ENDLESS = Stream(1_000_000, 200_000)


@dataclass(frozen=True)
class Size:
    """How much is done in one measurement."""

    seconds: float = 3.0
    turns: int = 12
    turn_seconds: float = 0.5
    connections: int = 32
    streams: tuple[int, int] = (100, 400)
    stream: Stream = FIFTY_A_SECOND
    burst: Stream = AT_ONCE
    burst_connections: int = 16
    first_byte: Stream = SHORT
    first_byte_connections: int = 10
    held: int = 1000
    held_stream: Stream = ENDLESS
    held_events: int = 20

    @property
    def warm_up_seconds(self) -> float:
        """The part of a measurement that comes before it and is not counted."""
        return max(0.2, self.seconds / 6)


FULL = Size()
QUICK = Size(
    seconds=0.25,
    turns=2,
    turn_seconds=0.25,
    streams=(5, 10),
    stream=Stream(20, 10_000),
    held=50,
    held_stream=Stream(1_000_000, 20_000),
    held_events=5,
)
"""Enough to see that everything works. Its figures say nothing."""


@dataclass(frozen=True)
class Figure:
    """What a number is, and its unit."""

    key: str
    title: str
    unit: str


@dataclass(frozen=True)
class Place:
    """Where a measurement happens: the client, the upstream, and how much is to be done."""

    client: Client
    upstream: Server
    size: Size


Values = dict[str, float]
Measure = Callable[[Place, Server, Peer], Values]


@dataclass(frozen=True)
class Scenario:
    """A measurement, and the figures that it gives."""

    name: str
    figures: tuple[Figure, ...]
    measure: Measure
    in_turns: bool = False
    """Measured for short, the peers taking turns: what else the machine does changes within seconds."""
    fresh_server: bool = False
    """Memory that was used once is not given back, so such a figure needs a server of its own."""

    def turns(self, size: Size) -> int:
        """How many measurements make a value."""
        return size.turns if self.in_turns else 1


def _cpu(
    place: Place, server: Server, peer: Peer, connections: int, warm_up: list[str], run: list[str]
) -> tuple[float, Seen]:
    place.client.ask(server, peer, connections, *warm_up)
    before = cpu_seconds(server.pid)
    seen = place.client.ask(server, peer, connections, *run)
    return (cpu_seconds(server.pid) - before) * 1e6, seen


def _requests(place: Place, server: Server, peer: Peer) -> Values:
    size = place.size
    warm_up, run = ["--seconds", "0.2"], ["--seconds", str(size.turn_seconds)]
    cpu, seen = _cpu(place, server, peer, size.connections, warm_up, run)
    return {"cpu_us_per_request": cpu / seen.requests, "requests_per_s": _rate(seen)}


def _streams(which: int) -> Measure:
    def measure(place: Place, server: Server, peer: Peer) -> Values:
        size = place.size
        streams = size.streams[which]
        short = Stream(max(1, size.stream.events // 8), size.stream.interval_us)
        once = ["--requests", str(streams)]
        warm_up, run = [*short.options(), *once], [*size.stream.options(), *once]
        cpu, seen = _cpu(place, server, peer, streams, warm_up, run)
        key = STREAMS[which]
        return {
            f"cpu_us_per_event_{key}": cpu / seen.events,
            f"events_per_s_{key}": seen.events / seen.seconds,
        }

    return measure


def _burst(place: Place, server: Server, peer: Peer) -> Values:
    size = place.size
    options = [*size.burst.options(), "--seconds"]
    warm_up, run = [*options, str(size.warm_up_seconds)], [*options, str(size.seconds)]
    cpu, seen = _cpu(place, server, peer, size.burst_connections, warm_up, run)
    return {"cpu_us_per_event_burst": cpu / seen.events}


def _first_byte(place: Place, server: Server, peer: Peer) -> Values:
    size = place.size
    options = [*size.first_byte.options(), "--seconds"]
    run = [*options, str(size.seconds)]
    direct = place.client.ask(place.upstream, DIRECT, size.first_byte_connections, *run)
    place.client.ask(server, peer, size.first_byte_connections, *options, str(size.warm_up_seconds))
    seen = place.client.ask(server, peer, size.first_byte_connections, *run)
    return {
        "direct_first_byte_ms": direct.first_byte_p50_us / 1000,
        "added_first_byte_ms": (seen.first_byte_p50_us - direct.first_byte_p50_us) / 1000,
    }


def _held(figure: str, options: Callable[[Size], list[str]]) -> Measure:
    def measure(place: Place, server: Server, peer: Peer) -> Values:
        size = place.size
        place.client.ask(server, peer, size.connections, "--requests", str(4 * size.connections))
        base = resident_kb(server.pid)
        with place.client.holding(server, peer, size.held, *options(size)):
            grown = resident_kb(server.pid) - base
        return {"base_rss_mb": base / 1024, figure: grown / size.held}

    return measure


def _rate(seen: Seen) -> float:
    return seen.requests / seen.seconds


def _held_stream(size: Size) -> list[str]:
    return [*size.held_stream.options(), "--hold-events", str(size.held_events)]


STREAMS = ("5k", "20k")
DIRECT = Peer("direct", "direct", lambda *_: NotImplemented)
"""Nobody between the client and the upstream."""

BASE = Figure("base_rss_mb", "memory after the warm-up, no connection open", "MB")
SCENARIOS = (
    Scenario(
        "requests",
        (
            Figure("cpu_us_per_request", "CPU of a request, 1 KB of JSON, 32 connections", "µs"),
            Figure("requests_per_s", "the same: requests done, proxy on one core", "1/s"),
        ),
        _requests,
        in_turns=True,
    ),
    Scenario(
        "streams",
        (
            Figure(
                "cpu_us_per_event_5k",
                "CPU of a relayed event, 100 streams of 50 events/s (5,000/s)",
                "µs",
            ),
            Figure(
                "events_per_s_5k", "the same: events that arrived, 5,000 if nobody is late", "1/s"
            ),
        ),
        _streams(0),
    ),
    Scenario(
        "many streams",
        (
            Figure(
                "cpu_us_per_event_20k",
                "CPU of a relayed event, 400 streams of 50 events/s (20,000/s)",
                "µs",
            ),
            Figure(
                "events_per_s_20k", "the same: events that arrived, 20,000 if nobody is late", "1/s"
            ),
        ),
        _streams(1),
    ),
    Scenario(
        "burst",
        (
            Figure(
                "cpu_us_per_event_burst", "CPU of a relayed event, 100 at once, 16 streams", "µs"
            ),
        ),
        _burst,
    ),
    Scenario(
        "first byte",
        (
            Figure("added_first_byte_ms", "added to the first byte (median), 10 streams", "ms"),
            Figure("direct_first_byte_ms", "first byte directly from the upstream (median)", "ms"),
        ),
        _first_byte,
    ),
    Scenario(
        "idle memory",
        (BASE, Figure("rss_kb_per_idle_connection", "memory of an idle connection", "KB")),
        _held("rss_kb_per_idle_connection", lambda _: []),
        fresh_server=True,
    ),
    Scenario(
        "stream memory",
        (BASE, Figure("rss_kb_per_stream", "memory of a stream, after 20 events", "KB")),
        _held("rss_kb_per_stream", _held_stream),
        fresh_server=True,
    ),
)
