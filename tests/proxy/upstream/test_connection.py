"""What a connection still holds when it is lost, and how it is left."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.proxy.upstream.conftest import Dial


def _answer_early(listening: socket.socket, times: int) -> None:
    """Read a part of each request, answer, and close with the rest unread: the kernel sends RST."""
    for _ in range(times):
        sock, _ = listening.accept()
        with sock:
            seen = b""
            while b"\r\n\r\n" not in seen:
                seen += sock.recv(65536)
            sock.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\nlarge")


async def test_an_answer_in_front_of_a_reset_is_not_lost_to_a_failing_write(dial: "Dial") -> None:
    async def body() -> AsyncIterator[bytes]:
        while True:
            yield bytes(65536)
            await asyncio.sleep(0)

    times = 50
    with socket.create_server(("127.0.0.1", 0)) as listening:
        # In a thread of its own, so that the reset comes at any moment of our event loop.
        thread = threading.Thread(target=_answer_early, args=(listening, times), daemon=True)
        thread.start()
        upstream = dial.to(f"http://127.0.0.1:{listening.getsockname()[1]}")
        for _ in range(times):
            answer = await upstream.send("POST", "/", [], body())
            assert (answer.status, await answer.read()) == (413, b"large")
            answer.close()
        thread.join()
