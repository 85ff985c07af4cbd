"""``backstory demo-upstream``: a stateless inference server to try the proxy on.

``app`` listens, one file for each dialect reads and spells (``falcon``, ``openai_chat``, …), and
``answers`` says what is known from the messages, and nothing else.
"""

from backstory.demo_upstream.app import create_demo_app, main

__all__ = ["create_demo_app", "main"]
