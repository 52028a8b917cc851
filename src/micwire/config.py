"""One frozen object with every setting, made at the edge.

Flags beat the environment (`MICWIRE_*`), which beats `micwire.toml`, which beats defaults.
"""

from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from micwire.core.keeping import KeepRules

MIB = 1 << 20

Told = Literal["started", "changed", "finished", "interrupted", "deleted", "result"]
"""What webhooks can be told of."""


class Config(BaseSettings):
    """Settings of a server."""

    model_config = SettingsConfigDict(
        env_prefix="MICWIRE_", toml_file="micwire.toml", frozen=True, extra="ignore"
    )

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    data: Path = Field(Path("recordings"), description="Where recordings are kept.")
    allow_origin: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Further origins whose pages may record, such as https://app.example."
    )
    https: bool = Field(
        False,
        description="Speak https, with a certificate of an authority that the server makes for"
        " itself.",
    )
    tls_cert: Path | None = Field(
        None, description="Speak https with this certificate (PEM, with those above it)."
    )
    tls_key: Path | None = Field(None, description="The key of `tls_cert` (PEM, no password).")
    access: Literal["auto", "open", "token", "users"] = Field(
        "auto",
        description="Who has to sign in: `open` is nobody, `token` everybody, with the link that"
        " is printed at the start, `users` everybody, as a user of `micwire user`; `auto` is"
        " `users` once there are any, else `open` on a loopback address and `token` elsewhere.",
    )
    session_days: float = Field(
        30, gt=0, le=400, description="Days that a browser stays signed in."
    )
    oidc_issuer: str = Field(
        "", description="Let people sign in through this OpenID Connect provider."
    )
    oidc_client_id: str = Field("", description="How the provider knows this server.")
    oidc_client_secret: str = Field(
        "", repr=False, description="How this server proves to the provider to be it."
    )
    oidc_allow: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Who of the provider's people: addresses such as anna@example.org or"
        " @example.org; empty is everybody whom it lets in.",
    )
    allow_embedding: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Origins whose pages may show the server's own pages in a frame."
    )
    public_url: str = Field(
        "",
        description="Where people find the server behind a proxy, such as https://mic.example or"
        " https://app.example/mic: its host is a name of ours, and they are asked who they are.",
    )
    forwarded_allow_ips: Annotated[tuple[str, ...], NoDecode] = Field(
        ("127.0.0.1", "::1"),
        description="Addresses or networks of proxies whose X-Forwarded-For and -Proto are"
        " believed; `*` believes everybody.",
    )
    metrics: str = Field(
        "",
        description="HOST:PORT for `/metrics`, which is then nowhere else; without it the server's"
        " own port tells it, to this machine only, and not with `public_url`.",
    )
    quota_hours: float = Field(0, ge=0, description="Hours of sound per user; 0 is no limit.")
    quota_gb: float = Field(0, ge=0, description="Gigabytes of sound per user; 0 is no limit.")
    quota_streams: int = Field(
        0, ge=0, description="Recordings per user that may stream at once; 0 is no limit."
    )
    min_free_mb: float = Field(
        256,
        ge=0,
        description="Below this room (MiB, at most 5 % of the disk) new recordings are refused;"
        " below half of it streaming ones stop.",
    )
    max_recordings: int = Field(2_000, ge=1, description="Recordings that may stream at once.")
    unfinished_days: float = Field(
        7, gt=0, description="Days that an unfinished recording waits for its client."
    )
    analyzers: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Analyzers to run while sound comes in: `level`, or `module:function` for one"
        " of your own.",
    )
    keep_days: float = Field(
        0, ge=0, description="Days that a recording is kept, and then deleted; 0 is for ever."
    )
    keep_days_tag: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="The same for recordings with a tag, as TAG=DAYS; several with commas. Of"
        " several rules the longest counts, before the general one.",
    )
    keep_days_user: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="The same for a user's recordings, as USER=DAYS."
    )
    catalogue: str = Field(
        "",
        description="Where the index of recordings is kept: `postgresql://user@host/name`, or"
        " empty for a file of its own below the data directory.",
    )
    webhook: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Addresses that are told what happens to recordings, signed."
    )
    webhook_events: Annotated[tuple[Told, ...], NoDecode] = Field(
        ("started", "finished", "interrupted", "deleted"),
        description="What they are told; also `changed`, and `result` for what analyzers say.",
    )
    webhook_secret: str = Field(
        "",
        repr=False,
        description="Signs what they are told, `whsec_` and base64; without it one is made and kept"
        " in `.micwire/webhooks/secret`.",
    )
    webhook_allow_private: bool = Field(
        False, description="Webhooks may go to this machine and local networks, and over http."
    )
    segment_mb: float = Field(16, ge=4, le=1024, description="Size of a journal segment, MiB.")
    failpoint: str = Field(
        "", description="For tests: NAME:COUNT kills the process there, the COUNT-th time."
    )

    @field_validator(
        "allow_origin",
        "allow_embedding",
        "oidc_allow",
        "forwarded_allow_ips",
        "analyzers",
        "webhook",
        "webhook_events",
        mode="before",
    )
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value

    @field_validator("keep_days_tag", "keep_days_user", mode="before")
    @classmethod
    def _split_rules(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(rule for rule in value.split(",") if rule.strip())

    @field_validator("keep_days_tag", "keep_days_user")
    @classmethod
    def _check_rules(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        KeepRules.parse(0, value, ())
        return value

    @field_validator("allow_origin", "allow_embedding")
    @classmethod
    def _check_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            scheme, _, rest = origin.partition("://")
            if scheme not in ("http", "https") or not rest or "/" in rest:
                raise ValueError(f"{origin!r} is no origin; one looks like https://app.example")
        return tuple(origin.lower() for origin in value)

    @field_validator("public_url")
    @classmethod
    def _check_address(cls, value: str) -> str:
        parts = urlsplit(value)
        is_whole = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc
        if value and (not is_whole or parts.query or parts.fragment):
            raise ValueError(f"{value!r} is no address; one looks like https://mic.example")
        return value.rstrip("/")

    @field_validator("metrics")
    @classmethod
    def _check_place(cls, value: str) -> str:
        host, _, port = value.rpartition(":")
        if value and not (host and port.isascii() and port.isdigit() and int(port) <= 65535):
            raise ValueError(f"{value!r} is no HOST:PORT; one looks like 127.0.0.1:9100")
        return value

    @model_validator(mode="after")
    def _check_certificate(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key belong together")
        return self

    @property
    def keep_rules(self) -> KeepRules:
        """How long recordings are kept."""
        return KeepRules.parse(self.keep_days, self.keep_days_tag, self.keep_days_user)

    @property
    def is_https(self) -> bool:
        """Tell whether the server itself speaks https."""
        return self.https or self.tls_cert is not None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources: flags, environment, `micwire.toml`."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)
