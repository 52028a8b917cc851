"""The command line: words in, exit codes out.

What is slow to import is imported by the command that needs it. Whatever goes wrong is
one sentence on standard error with the cause and the next step, never a traceback.
"""

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from micwire.cli.exits import CANT_CREATE, EXIT_CODES, OK, USAGE, WRONG
from micwire.cli.people import invitations, tokens, users
from micwire.core.errors import MicwireError

NEEDS_TOKEN = ("unauthenticated", "forbidden")

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Carry a microphone to a server and keep every sample as WAV.

    \b
    micwire serve                     start, and open the page that it names
    micwire send talk.wav             stream a file as a microphone would
    micwire list                      what has been recorded
    micwire verify recordings         prove that nothing is missing

    \b
    Exit codes: 0 all is well; 1 something is wrong with a recording, or it was
    refused; 2 wrong usage or a file that can't be used; 69 the server can't be
    reached, or the port is taken; 73 the data directory or a file can't be made or
    is in use; 75 the disk failed, start again; 130 given up with Ctrl+C.
    """,
)


app.add_typer(users, name="user")
app.add_typer(tokens, name="token")
app.add_typer(invitations, name="invite")


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"micwire {version('micwire')}")
        raise typer.Exit


@app.callback()
def common(
    *,
    show_version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Options of all commands."""


@app.command()
def serve(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on.  [default: 127.0.0.1]")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on; 0 takes a free one.  [default: 8000]")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Where recordings are kept.  [default: ./recordings]")
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN",
            help="A further origin whose pages may record, such as https://app.example;"
            " may be given several times.",
        ),
    ] = None,
    https: Annotated[
        bool,
        typer.Option(
            "--https",
            help="Speak https, with a certificate of an authority that the server makes for itself;"
            " shows phones the way. Needs micwire[https].",
        ),
    ] = False,
    tls_cert: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Speak https with this certificate (PEM, with those above it); a new one is taken"
            " up while recordings go on.",
        ),
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Its key (PEM, no password).")
    ] = None,
    access: Annotated[
        str | None,
        typer.Option(
            metavar="WHO",
            help="Who has to sign in: open is nobody; token everybody, with the link that is"
            " printed at the start; users everybody, as a user of `micwire user`; auto is users"
            " once there are any, else open on a loopback address and token elsewhere."
            "  [default: auto]",
        ),
    ] = None,
    allow_embedding: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN",
            help="An origin whose pages may show the server's own pages in a frame; may be given"
            " several times.",
        ),
    ] = None,
    public_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Where people find the server behind a proxy, such as https://mic.example.",
        ),
    ] = None,
    forwarded_allow_ips: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS",
            help="A proxy, or a network of them, whose X-Forwarded-For and -Proto are believed; may"
            " be given several times.  [default: 127.0.0.1, ::1]",
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Tell /metrics there, nowhere else.  [default: on --port, to this machine only]",
        ),
    ] = None,
    webhook: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL",
            help="Tell what happens to recordings there, signed; may be given several times.",
        ),
    ] = None,
    webhook_events: Annotated[
        list[str] | None,
        typer.Option(
            metavar="EVENT",
            help="What webhooks are told: started, changed, finished, interrupted, deleted, result;"
            " may be given several times.  [default: all but changed and result]",
        ),
    ] = None,
    webhook_allow_private: Annotated[
        bool,
        typer.Option(
            "--webhook-allow-private",
            help="Webhooks may go to this machine and local networks, and over http.",
        ),
    ] = False,
    min_free_mb: Annotated[
        float | None,
        typer.Option(
            help="Below this room (MiB) new recordings are refused; below half of it streaming"
            " ones stop.  [default: 256]"
        ),
    ] = None,
    max_recordings: Annotated[
        int | None, typer.Option(help="Recordings that may stream at once.  [default: 2000]")
    ] = None,
    unfinished_days: Annotated[
        float | None,
        typer.Option(help="Days that an unfinished recording waits for its client.  [default: 7]"),
    ] = None,
    analyzers: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="An analyzer to run while sound comes in: level, or module:function for one of"
            " your own; several with commas, or given several times.  [default: none]",
        ),
    ] = None,
    keep_days: Annotated[
        float | None,
        typer.Option(help="Days that a recording is kept, and then deleted.  [default: for ever]"),
    ] = None,
    keep_days_tag: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TAG=DAYS",
            help="The same for a tag; may be given several times; 0 is for ever.",
        ),
    ] = None,
    keep_days_user: Annotated[
        list[str] | None,
        typer.Option(metavar="USER=DAYS", help="The same for a user's recordings."),
    ] = None,
    catalogue: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Where the index of recordings is kept, such as postgresql://user@host/name. An"
            " address with a password belongs into MICWIRE_CATALOGUE.  [default: a file below"
            " the data directory]",
        ),
    ] = None,
) -> None:
    """Run a server until Ctrl+C or SIGTERM.

    A flag beats the environment (MICWIRE_PORT and so on), which beats micwire.toml.

    \b
    micwire serve
    micwire serve --port 0 --data /srv/recordings
    micwire serve --host 0.0.0.0 --allow-origin https://app.example
    micwire serve --analyzers level
    micwire serve --host 0.0.0.0 --https
    """
    from micwire.config import Config
    from micwire.server import serve as run_server

    flags = {
        "host": host,
        "port": port,
        "data": data,
        "allow_origin": None if allow_origin is None else tuple(allow_origin),
        "https": https or None,
        "tls_cert": tls_cert,
        "tls_key": tls_key,
        "access": access,
        "allow_embedding": None if allow_embedding is None else tuple(allow_embedding),
        "public_url": public_url,
        "forwarded_allow_ips": None if forwarded_allow_ips is None else tuple(forwarded_allow_ips),
        "metrics": metrics,
        "webhook": None if webhook is None else tuple(webhook),
        "webhook_events": None if webhook_events is None else tuple(webhook_events),
        "webhook_allow_private": webhook_allow_private or None,
        "min_free_mb": min_free_mb,
        "max_recordings": max_recordings,
        "unfinished_days": unfinished_days,
        "analyzers": None if analyzers is None else ",".join(analyzers),
        "keep_days": keep_days,
        "keep_days_tag": None if keep_days_tag is None else tuple(keep_days_tag),
        "keep_days_user": None if keep_days_user is None else tuple(keep_days_user),
        "catalogue": catalogue,
    }
    try:
        config = Config.model_validate(
            {name: value for name, value in flags.items() if value is not None}
        )
    except ValueError as error:
        _fail(USAGE, _first_of(error))
    raise typer.Exit(run_server(config))


@app.command()
def send(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="An audio file; - is a WAV on standard input.")
    ],
    *,
    url: Annotated[str, typer.Option(help="The server.")] = "http://127.0.0.1:8000",
    fast: Annotated[
        bool, typer.Option("--fast", help="As fast as the server takes it, not in real time.")
    ] = False,
    title: Annotated[
        str | None, typer.Option(help="Title of the recording.  [default: the file's name]")
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(envvar="MICWIRE_TOKEN", help="For a server that asks who is there."),
    ] = None,
    cacert: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Trust a server whose certificate is of this authority (PEM), such as the"
            " .micwire/https/ca.crt of its data directory.",
        ),
    ] = None,
    connect_timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds to try to reach the server at first.")
    ] = 10.0,
) -> None:
    """Stream an audio file as a microphone would, and print the recording's URL.

    WAVs of 16 and 24 bits and float arrive bit for bit. A link that breaks is replaced
    for ever, and nothing is lost by it. Exits with 0 only once the WAV is final on the
    server and its digest agrees. Ctrl+C once: finish with what was read; twice: give up.

    \b
    micwire send talk.wav
    micwire send interview.flac --fast --title "Interview 7"
    arecord -f cd -t wav | micwire send -
    """
    from micwire.cli.send import send_file

    raise typer.Exit(
        send_file(
            file,
            url,
            is_fast=fast,
            title=title,
            token=token,
            authority=cacert,
            connect_timeout_s=connect_timeout,
        )
    )


@app.command()
def verify(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="WAVs, or directories of recordings.")
    ],
) -> None:
    """Check recordings against themselves and their sidecars: sizes, digest, gaps.

    \b
    micwire verify recordings
    micwire verify recordings/2026-11-22/18-13-05_7f3a9c2e.wav
    """
    from micwire.cli.files import verify_paths

    raise typer.Exit(verify_paths(paths))


@app.command()
def repair(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A WAV, also of another program.")],
    assume: Annotated[
        str | None,
        typer.Option(
            metavar="ENCODING:RATE:CHANNELS",
            help="The format, for a file whose header is nothing but zeros.",
        ),
    ] = None,
) -> None:
    """Mend a WAV whose header and length don't agree. The sound is never altered.

    \b
    micwire repair crashed.wav
    micwire repair zeros.wav --assume pcm_s16le:48000:2
    """
    from micwire.cli.files import repair_file

    raise typer.Exit(repair_file(file, assume))


@app.command()
def export(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A recording.")],
    target: Annotated[
        Path,
        typer.Argument(metavar="DST", help="The copy: .wav, or encoded as .flac, .opus or .mp3."),
    ],
    *,
    with_tags: Annotated[
        bool,
        typer.Option("--tags", help="A WAV that says its title, start, device, marks and gaps."),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace DST if it exists.")
    ] = False,
) -> None:
    """Copy a recording with the plain header that the most naive readers understand.

    Or encode it: FLAC keeps every sample of 16 and 24 bits, and rounds float to 24 bits.

    \b
    micwire export recordings/2026-11-22/18-13-05_7f3a9c2e.wav plain.wav
    micwire export recordings/2026-11-22/18-13-05_7f3a9c2e.wav speech.opus
    """
    from micwire.cli.files import export_file

    raise typer.Exit(export_file(source, target, is_tagged=with_tags, overwrite=overwrite))


@app.command("list")
def list_recordings(
    *,
    data: Annotated[Path, typer.Option(help="The data directory.")] = Path("recordings"),
    search: Annotated[
        str,
        typer.Option(
            metavar="WORDS",
            help="Those with all of these words, or beginnings of words, in title, tags, notes,"
            " marks or the microphone's name.",
        ),
    ] = "",
    tag: Annotated[
        list[str] | None, typer.Option(help="Those with this tag; may be given several times.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="As JSON: the sidecars, with path and seconds.")
    ] = False,
) -> None:
    """List recordings, the newest first. Reads their sidecars, and needs no server.

    \b
    micwire list
    micwire list --search "interview berlin" --tag pilot
    micwire list --data /srv/recordings --json
    """
    from micwire.cli.files import print_list

    raise typer.Exit(print_list(data, search=search, tags=tag or [], as_json=as_json))


@app.command()
def reindex(
    *,
    data: Annotated[
        Path | None, typer.Option(help="The data directory.  [default: ./recordings]")
    ] = None,
    catalogue: Annotated[
        str | None,
        typer.Option(metavar="URL", help="As for `micwire serve`.  [default: a file in --data]"),
    ] = None,
) -> None:
    """Make the catalogue anew from WAVs and sidecars, while no server is running.

    Recordings that were copied in by hand, restored or moved are taken in: a WAV without a
    sidecar gets one. It may be broken off at any time, and begun again.

    \b
    micwire reindex
    micwire reindex --data /srv/recordings
    """
    from micwire.cli.reindex import reindex as make_anew
    from micwire.config import Config

    flags = {"data": data, "catalogue": catalogue}
    try:
        config = Config.model_validate(
            {name: value for name, value in flags.items() if value is not None}
        )
    except ValueError as error:
        _fail(USAGE, _first_of(error))
    raise typer.Exit(make_anew(config.data, config.catalogue))


def main() -> NoReturn:
    """Run the command line; every error ends as a sentence and an exit code."""
    try:
        app()
    except MicwireError as error:
        hint = " Give a token with --token or MICWIRE_TOKEN." if error.code in NEEDS_TOKEN else ""
        _fail(EXIT_CODES.get(error.code, WRONG), f"{error}{hint}")
    except FileExistsError as error:
        _fail(CANT_CREATE, str(error))
    except OSError as error:
        is_missing = isinstance(error, FileNotFoundError | IsADirectoryError | PermissionError)
        _fail(USAGE if is_missing else WRONG, _os_words(error))
    sys.exit(OK)


def _os_words(error: OSError) -> str:
    where = "" if error.filename is None else f"{error.filename}: "
    return f"{where}{error.strerror or error}"


def _first_of(error: ValueError) -> str:
    """Say what is wrong with a setting; of several the first."""
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        return f"micwire.toml can't be read: {error}"
    first = error.errors()[0]
    if not first["loc"]:  # a rule about several of them
        return f"the settings don't fit together: {first['msg'].removeprefix('Value error, ')}"
    name = ".".join(str(part) for part in first["loc"])
    return f"the setting {name!r} can't be used: {first['msg']} (it is {first['input']!r})"


def _fail(code: int, words: str) -> NoReturn:
    typer.echo(f"micwire: {words}", err=True)
    sys.exit(code)
