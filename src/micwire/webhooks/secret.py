"""The secret that signs webhooks: given, or made once and kept with the data. Blocks."""

import os
import secrets
from pathlib import Path

from micwire.webhooks.message import decode_secret, encode_secret


def secret_of(setting: str, path: Path) -> bytes:
    """Return the secret of a setting; without one that of a file, made if it is missing.

    Raises:
        WebhookError: It is of another form.
        OSError: The file can't be read or made.
    """
    if setting:
        return decode_secret(setting)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return decode_secret(path.read_text())
    try:
        os.write(descriptor, f"{encode_secret(secrets.token_bytes(32))}\n".encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return decode_secret(path.read_text())
