"""Where the upstream is: the setting ``http://host:port/prefix``, read."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443}
_VISIBLE = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port of an upstream, and what its targets begin with."""

    tls: bool
    host: str
    """A name or an address, without brackets."""
    port: int
    authority: str
    """The value of Host: no default port, an IPv6 address in brackets (RFC 9110 section 7.2)."""
    prefix: str
    """In front of every target, as spelled; without a slash at the end."""

    @classmethod
    def parse(cls, text: str) -> "Origin":
        """Read a setting.

        Raises:
            ValueError: not http or https, no host, or with user, query or fragment.
        """
        if not _VISIBLE.fullmatch(text):  # urlsplit silently drops tabs and line ends
            raise ValueError("an origin is ASCII without blanks")
        parts = urlsplit(text)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError("an origin is http://host:port or https://host:port")
        if parts.username is not None or "?" in text or "#" in text:
            raise ValueError("an origin has no user, query or fragment")
        default = _PORTS[parts.scheme]
        port = default if parts.port is None else parts.port
        name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return cls(
            tls=parts.scheme == "https",
            host=parts.hostname,
            port=port,
            authority=name if port == default else f"{name}:{port}",
            prefix=parts.path.rstrip("/"),
        )
