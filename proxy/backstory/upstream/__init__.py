"""The upstream side: requests as given, answers as they come, and how each answer ended.

Our own small pool of connections, because aiohttp's client re-quotes targets, adds fields, and
reports a body that was cut by RST as a clean end.
"""

from backstory.upstream.answer import Tunnel, UpstreamAnswer
from backstory.upstream.framing import Fields, Framing
from backstory.upstream.upstream import Upstream

__all__ = ["Fields", "Framing", "Tunnel", "Upstream", "UpstreamAnswer"]
