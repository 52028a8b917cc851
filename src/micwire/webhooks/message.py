"""What a webhook says, and how its receiver knows that we said it.

The form is that of Standard Webhooks 1.0.0 (https://www.standardwebhooks.com): any library for
it checks ours. Signed is `ID.TIMESTAMP.BODY`, with HMAC-SHA256.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from micwire.core.errors import MicwireError

SECRET_PREFIX = "whsec_"
MIN_SECRET_BYTES, MAX_SECRET_BYTES = 24, 64


class WebhookError(MicwireError):
    """A setting of the webhooks can't be used; the text says why."""

    code = "bad-webhook"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message to one address, as it waits to be delivered.

    Args:
        id: The same for each try, so that a receiver can tell a repetition.
        url: Where to.
        body: JSON.
        tries: How many have failed.
        due: When to try next, in seconds since 1970.
    """

    id: str
    url: str
    body: str
    tries: int = 0
    due: float = 0.0

    def encode(self) -> bytes:
        """Return it as kept on disk."""
        return json.dumps(asdict(self)).encode()

    @staticmethod
    def decode(data: bytes) -> "Delivery":
        """Read what `encode` wrote.

        Raises:
            ValueError: It is something else.
        """
        try:
            fields = json.loads(data)
            return Delivery(
                str(fields["id"]),
                str(fields["url"]),
                str(fields["body"]),
                int(fields["tries"]),
                float(fields["due"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"no delivery: {error}") from None


def body_of(happening: str, at: str, data: Mapping[str, object]) -> str:
    """Return the body of a message.

    >>> body_of("finished", "2026-11-24T12:00:00Z", {"frames": 480})
    '{"type": "recording.finished", "timestamp": "2026-11-24T12:00:00Z", "data": {"frames": 480}}'
    """
    return json.dumps({"type": f"recording.{happening}", "timestamp": at, "data": dict(data)})


def headers_of(delivery: Delivery, secret: bytes, timestamp: int) -> dict[str, str]:
    """Return the headers of one try; each has a timestamp and so a signature of its own."""
    signed = f"{delivery.id}.{timestamp}.{delivery.body}".encode()
    signature = base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()
    return {
        "Content-Type": "application/json",
        "User-Agent": "micwire",
        "webhook-id": delivery.id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature}",
    }


def decode_secret(text: str) -> bytes:
    """Return the bytes of a secret in the form `whsec_BASE64`.

    Raises:
        WebhookError: It is of another form, or has not 24 to 64 bytes.
    """
    try:
        secret = base64.b64decode(text.strip().removeprefix(SECRET_PREFIX), validate=True)
    except ValueError:
        secret = b""
    if not MIN_SECRET_BYTES <= len(secret) <= MAX_SECRET_BYTES:
        raise WebhookError(
            f"the webhooks' secret is {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes in base64"
            f" behind {SECRET_PREFIX!r}; leave it out and one is made"
        )
    return secret


def encode_secret(secret: bytes) -> str:
    """Return a secret in the form in which receivers are given it."""
    return f"{SECRET_PREFIX}{base64.b64encode(secret).decode()}"
