"""What may name a conversation."""

import re

CONVERSATION_ID = re.compile(r"[!-~]{1,256}")
"""1 to 256 visible ASCII characters (RFC 20), whoever says it."""
