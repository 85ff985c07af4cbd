"""Falcon: a prompt of raw text, a reply of raw text (``docs/dialects.md`` 1).

The whole conversation is told in the one field ``text``, a line for each message (``_transcript.py``).
"""

from backstory.jsonbody import NotJson, decode, walk_object
from backstory.model import Answer, Beginning, Marker, Prompt, Reply, Verdict
from backstory.spi import Dialect
from backstory_plugins.dialects._raw_text import RawText, one_string, values_of

_END = "<|endoftext|>"
_MARKER = Marker((_END.encode(),), line_start=False)


class Falcon(RawText):
    """See ``spi.Dialect``."""

    name = "falcon"

    def __init__(
        self,
        *,
        neutralise_markers: bool = True,
        cut_at_human: bool = False,
        require_end_marker: bool = False,
    ) -> None:
        """What memory tells and keeps; what the client sees is never changed.

        Args:
            neutralise_markers: break up ``<|endoftext|>`` in told history, which would end it.
            cut_at_human: keep a reply up to the first ``\\nHuman:``, where a base model goes on
                to write the user's part itself.
            require_end_marker: a reply counts only with its end marker, however it is framed.
        """
        super().__init__(neutralise_markers=neutralise_markers, cut_at_human=cut_at_human)
        self._require_end_marker = require_end_marker

    def read_prompt(self, body: bytes, begun: Beginning | None = None) -> Prompt | None:
        """See ``spi.Dialect``."""
        try:
            text = decode(body)
            fields = walk_object(text)
        except NotJson:
            return None
        place = one_string(fields, "text")
        if place is None:
            return None
        return self.prompt_in(body, text, place, limits=values_of(fields, "max_tokens"))

    def end_marker(self, media_type: str) -> Marker | None:
        """See ``spi.Dialect``."""
        return _MARKER

    def read_reply(self, prompt: Prompt, answer: Answer) -> Reply:
        """See ``spi.Dialect``. The end marker is never stored: told again, it would end the prompt."""
        try:
            text, marker, rest = answer.body.decode().partition(_END)
        except UnicodeDecodeError:
            return Reply(Verdict.ERROR if answer.proved else Verdict.ABORTED)
        if rest.strip():
            return Reply(Verdict.ERROR)
        if not marker and (self._require_end_marker or not answer.proved):
            return Reply(Verdict.UNPROVED)
        return self.reply_of(Verdict.COMPLETE, text)

    def error_body(self, status: int, code: str, message: str) -> tuple[str, bytes]:
        """See ``spi.Dialect``."""
        return "text/plain; charset=utf-8", f"{message}\n".encode("utf-8", "replace")

    def error_event(self, code: str, message: str) -> bytes:
        """See ``spi.Dialect``. Raw text has no place for an error."""
        return b""


_: type[Dialect] = Falcon
