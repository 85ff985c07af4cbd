"""``./scripts/run``: the proxy, a demo upstream unless there is a real one, and lines to paste.

Everything it keeps is in ``.backstory/`` of the working directory, readable by its owner only.
"""

import os
import secrets
import socket
import sys
import time
import warnings
from collections.abc import AsyncIterator
from pathlib import Path
from shlex import quote as shell
from urllib.parse import quote, urlsplit

import jwt
from aiohttp import web

from backstory import headers
from backstory.app import key_ring
from backstory.config import Config
from backstory.demo_upstream import create_demo_app
from backstory.errors import ConfigError
from backstory.model import Owner
from backstory.serve import Beside, read_command_line, report, serve
from backstory.session import CookieSeal, Ticket
from backstory.settings import Secret
from backstory.turns import new_conversation_id

STATE = Path(".backstory")
CLAIMS = {"team_id": "tenstorrent", "token_id": "debug-test"}
QUESTIONS = ("Repeat the number '94572'.", "What number did you repeat?")


def main(argv: list[str]) -> int:
    """Run until told to stop; the exit status."""
    try:
        state = _state_directory()
        demo = socket.create_server(("127.0.0.1", 0))
        demo_address = f"http://127.0.0.1:{demo.getsockname()[1]}"
        config = read_command_line(
            argv,
            {
                "upstream": demo_address,
                "store": "sqlite:///" + quote(str(state / "backstory.db")),
                "session_key_file": str(state / "backstory.key"),
                "jwt_secret": Secret(_kept_secret(state / "jwt_secret")),
            },
        )
        beside = []
        if config.upstream == demo_address:
            beside.append(_demo_upstream(demo))
        else:
            demo.close()
        return serve(config, lambda url: _say(url, config, state), beside=beside)
    except ConfigError as exc:
        return report(exc.problems)
    except OSError as exc:
        return report([f"{exc.filename or 'network'}: {exc.strerror}"])


def lines(url: str, config: Config, state: Path) -> list[str]:
    """What a person pastes into a shell: the token, the conversation, and a look at the memory."""
    assert config.jwt_secret is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a short secret has been warned about already
        token = "Bearer " + jwt.encode(CLAIMS, config.jwt_secret.reveal(), "HS256")
    conversation = new_conversation_id()
    jar = shell(str(_cookie_jar(url, config, state, conversation, token)))
    asked = [
        f"curl -X POST {url}/conversation/falcon-40b-instruct -b {jar} -c {jar} -L"
        " -H 'accept: */*' -H 'Content-Type: application/json'"
        ' -H "Authorization: ${JWT_TOKEN}" -d ' + shell(_question(text))
        for text in QUESTIONS
    ]
    look = f'curl {url}/-/v1/conversations/{conversation}/turns -H "Authorization: ${{JWT_TOKEN}}"'
    return [f'export JWT_TOKEN="{token}"', *asked, look]


def _say(url: str, config: Config, state: Path) -> None:
    sys.stderr.write(f"Backstory listens on {url}. Paste these lines into another terminal:\n\n")
    sys.stderr.flush()
    sys.stdout.write("\n".join(lines(url, config, state)) + "\n")
    sys.stdout.flush()


def _question(text: str) -> str:
    return (
        f'{{"text": "{text}", "top_k": 1, "top_p": 0.9, "temperature": 0.7,'
        ' "max_tokens": 32, "stop_sequence": "."}'
    )


def _cookie_jar(url: str, config: Config, state: Path, conversation: str, token: str) -> Path:
    """A jar that curl reads (Netscape's format), with the cookie of a conversation to begin.

    So the third line can name the conversation before anybody has asked anything. Each start has
    a jar of its own: the lines of an earlier start go on with their conversation.
    """
    ring = key_ring(config)
    owner = Owner(CLAIMS["team_id"], CLAIMS["token_id"])
    if config.auth == "off":
        owner = Owner("default", ring.pseudonym("identity/v1", token))
    name = headers.cookie_name(https=False)
    now = time.time()
    ticket = Ticket(conversation, now)
    value = CookieSeal(ring, config.session_max_age_seconds).seal(ticket, owner, name)
    expires = int(now + config.session_max_age_seconds)
    host = urlsplit(url).hostname
    jar = state / f"cookies-{conversation}.txt"
    with os.fdopen(os.open(jar, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        fields = (f"#HttpOnly_{host}", "FALSE", "/", "FALSE", str(expires), name, value)
        file.write("# Netscape HTTP Cookie File\n" + "\t".join(fields) + "\n")
    for old in state.glob("cookies-*.txt"):
        if old.stat().st_mtime < now - config.session_max_age_seconds:
            old.unlink()
    return jar


def _state_directory() -> Path:
    state = STATE.resolve()
    state.mkdir(mode=0o700, exist_ok=True)
    return state


def _kept_secret(path: Path) -> str:
    """The secret in ``path``, made at the first start."""
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(32))
    except FileExistsError:
        pass  # from an earlier start: its tokens go on being valid
    return path.read_text(encoding="ascii").strip()


def _demo_upstream(listener: socket.socket) -> Beside:
    async def run(_: web.Application) -> AsyncIterator[None]:
        runner = web.AppRunner(create_demo_app(), access_log=None, handler_cancellation=True)
        await runner.setup()
        await web.SockSite(runner, listener).start()
        yield
        await runner.cleanup()

    return run


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
