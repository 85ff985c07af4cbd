"""The chain: one stage, one file. A stage takes what it needs and returns a middleware."""

from backstory.stages.auth import auth
from backstory.stages.exchange import exchange
from backstory.stages.forward import Forward
from backstory.stages.memory import memory
from backstory.stages.session import session

__all__ = ["Forward", "auth", "exchange", "memory", "session"]
