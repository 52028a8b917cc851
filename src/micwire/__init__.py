"""Carry a browser's microphone to a server and keep every sample as WAV."""

import importlib
from typing import TYPE_CHECKING

from micwire.core.audio import Encoding, Format
from micwire.core.errors import MicwireError, RefusedError

if TYPE_CHECKING:
    from micwire.app import create_app
    from micwire.blocks import AudioBlock, analyzer
    from micwire.client import connect
    from micwire.config import Config

__all__ = [
    "AudioBlock",
    "Config",
    "Encoding",
    "Format",
    "MicwireError",
    "RefusedError",
    "analyzer",
    "connect",
    "create_app",
]

_LAZY = {
    "AudioBlock": "micwire.blocks",
    "Config": "micwire.config",
    "analyzer": "micwire.blocks",
    "connect": "micwire.client",
    "create_app": "micwire.app",
}
"""What is imported when it is first asked for: numpy and sockets take their time."""


def __getattr__(name: str) -> object:
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module 'micwire' has no attribute {name!r}")
    return getattr(importlib.import_module(module), name)
