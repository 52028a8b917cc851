"""Exit codes of the command line, as in sysexits.h where it has one."""

OK = 0
WRONG = 1
"""Something is wrong with a recording, or the server refused it."""
USAGE = 2
"""The command line or a file that it names can't be used."""
UNAVAILABLE = 69
"""The server or the database can't be reached, or the address can't be listened on."""
CANT_CREATE = 73
"""The data directory or a file can't be made or is in use."""
TEMPORARY_FAILURE = 75
"""The disk failed: start the server again."""
INTERRUPTED = 130

EXIT_CODES = {
    "bad-analyzer": USAGE,
    "bad-audio-file": USAGE,
    "bad-catalogue-url": USAGE,
    "bad-certificate": USAGE,
    "bad-webhook": USAGE,
    "missing-package": USAGE,
    "unsupported-format": USAGE,
    "name-taken": USAGE,
    "no-such-user": USAGE,
    "catalogue-damaged": UNAVAILABLE,
    "catalogue-unavailable": UNAVAILABLE,
    "unreachable": UNAVAILABLE,
    "port-taken": UNAVAILABLE,
    "data-directory": CANT_CREATE,
    "storage-failed": TEMPORARY_FAILURE,
    "storage-full": TEMPORARY_FAILURE,
}
"""By the code of a `MicwireError`; for all others 1."""
