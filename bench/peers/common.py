"""What all peers share: the command line, the listening socket, the conversion to int16.

Peers are to be as fast as their framework allows: nothing here may cost a message more
than the work itself.
"""

import argparse
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np

Samples = bytes | memoryview


def data_directory() -> Path:
    """Return the directory named by `--data`, the one option of a peer."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    directory: Path = parser.parse_args().data
    return directory


def listen(name: str) -> socket.socket:
    """Listen on a free port of 127.0.0.1 and say so on standard output."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    listener.setblocking(False)
    print(f"{name} is at http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    return listener


def converter(encoding: str | None) -> Callable[[bytes], Samples]:
    """Return what turns a message in `encoding` into the int16 samples to write.

    Raises:
        ValueError: The encoding is neither `pcm_f32le` nor `pcm_s16le`.
    """
    if encoding == "pcm_s16le":
        return _as_is
    if encoding == "pcm_f32le":
        return _to_int16
    raise ValueError(f"no encoding {encoding!r} here")


def _as_is(message: bytes) -> bytes:
    return message


_FULL_SCALE = np.float32(32768)


def _to_int16(message: bytes) -> memoryview:
    samples = np.frombuffer(message, "<f4") * _FULL_SCALE
    np.rint(samples, out=samples)
    np.clip(samples, -32768, 32767, out=samples)
    return samples.astype(np.int16).data
