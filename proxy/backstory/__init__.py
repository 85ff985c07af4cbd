"""A drop-in reverse proxy that gives a stateless LLM inference API a memory."""

__version__ = "0.1.0"
