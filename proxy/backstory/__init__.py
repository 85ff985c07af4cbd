"""A drop-in reverse proxy that gives a stateless LLM inference API a memory."""

from backstory.app import create_app, setup
from backstory.config import Config
from backstory.run_options import RUN_APP

__version__ = "0.1.0"

__all__ = ["RUN_APP", "Config", "__version__", "create_app", "setup"]
