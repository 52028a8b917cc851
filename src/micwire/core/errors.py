"""Every error micwire raises, and the codes of the wire with their close codes.

A code is for machines and never changes; the sentence is for people; the facts are
attributes. Nothing here decides anything.
"""

CLOSE_CODES = {
    "bad-message": 4400,
    "unauthenticated": 4401,
    "forbidden": 4403,
    "deleted": 4404,
    "taken-over": 4409,
    "diverged": 4410,
    "too-large": 4413,
    "unsupported-format": 4415,
    "gap-undeclared": 4422,
    "quota": 4429,
    "storage-failed": 4500,
    "storage-full": 4507,
}
"""`error.code` of the wire, and the WebSocket close code that goes with it."""

NORMAL_CLOSURE = 1000
SERVICE_RESTART = 1012


class MicwireError(Exception):
    """Base of all errors of micwire; `code` is stable, the message is for people."""

    code = "error"


class BadMessageError(MicwireError):
    """A message from the peer can't be read; the text says which rule it breaks."""

    code = "bad-message"


class UnsupportedFormatError(MicwireError):
    """The encoding, sample rate or number of channels is outside what micwire records."""

    code = "unsupported-format"


class StorageFailedError(MicwireError):
    """A write or sync failed: nothing more is acknowledged by this process."""

    code = "storage-failed"


class StorageFullError(MicwireError):
    """There is no room for what was asked for; nothing was changed."""

    code = "storage-full"


class DataDirectoryError(MicwireError):
    """The data directory can't be used: missing, not writable, or in use by another server."""

    code = "data-directory"


class RegisterDamagedError(MicwireError):
    """The entry of a recording that is over can't be read: something else has altered it."""

    code = "register-damaged"


class AccessError(MicwireError):
    """Who asks can't be looked up: the store of users can't be used."""

    code = "data-directory"


class WavError(MicwireError):
    """A file is not a WAV that micwire can read; the text says why."""

    code = "bad-wav"


class RefusedError(MicwireError):
    """The server refused the recording for good; `code` is the code of the wire.

    `frames` is the next frame the server expects: all before it are safe there.
    """

    def __init__(self, code: str, message: str, frames: int) -> None:
        super().__init__(f"{message} ({code}; safe on the server up to frame {frames})")
        self.code = code
        self.frames = frames
