"""The routes of the server itself: how it is, what it counts, whom devices are to trust.

Nothing here is anybody's, and nobody has to be signed in for it.
"""

from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from micwire.api.endpoints import Answer, Endpoint
from micwire.api.metrics import Metrics
from micwire.api.origin import is_loopback


class Health(BaseModel):
    """How the server is."""

    status: str = Field(description="`ok`, `stopping`, `storage-full` or `storage-failed`.")


class ServiceRoutes:
    """`/healthz`, `/metrics` and `/ca.crt`.

    Args:
        status: Returns how the server is, as `Health` says it.
        metrics: The numbers.
        authority: Returns where the certificate of the server's own authority is, if there
            is one.
        are_metrics_elsewhere: They have an address of their own, or a proxy lets everybody
            in to ours: they are not told here.
    """

    def __init__(
        self,
        status: Callable[[], str],
        metrics: Metrics,
        authority: Callable[[], Path | None],
        *,
        are_metrics_elsewhere: bool,
    ) -> None:
        self._status = status
        self._metrics = metrics
        self._authority = authority
        self._are_metrics_elsewhere = are_metrics_elsewhere

    def endpoints(self) -> list[Endpoint]:
        """Return the rows of the table."""
        health = {200: Answer("All is well.", Health), 503: Answer("It is not.", Health)}
        numbers = {
            200: Answer("The numbers.", "text/plain"),
            404: Answer("They are told elsewhere, or not to other machines.", "text/plain"),
        }
        certificate = {
            200: Answer("The certificate.", "application/x-x509-ca-cert"),
            404: Answer("This server has no authority of its own.", "text/plain"),
        }
        return [
            Endpoint("GET", "/healthz", self.get_health, health),
            Endpoint("GET", "/metrics", self.get_numbers, numbers),
            Endpoint("GET", "/ca.crt", self.get_certificate, certificate),
        ]

    async def get_health(self, request: Request) -> Response:
        """Tell whether recordings can be made."""
        status = self._status()
        # A recorder in another page asks, by a request whose answer it can't read, whether
        # somebody is there.
        headers = {"cross-origin-resource-policy": "cross-origin"}
        return JSONResponse({"status": status}, 200 if status == "ok" else 503, headers)

    async def get_certificate(self, request: Request) -> Response:
        """Hand out what devices are to trust; by its type a phone offers to install it."""
        authority = self._authority()
        if authority is None:
            raise HTTPException(404, "This server has no authority of its own.")
        return FileResponse(authority, media_type="application/x-x509-ca-cert")

    async def get_numbers(self, request: Request) -> Response:
        """Return what the recorder counts, for Prometheus on this machine."""
        client = request.client
        if self._are_metrics_elsewhere or client is None or not is_loopback(client.host):
            raise HTTPException(404, "Metrics are told elsewhere: see --metrics.")
        return self._metrics.response()
