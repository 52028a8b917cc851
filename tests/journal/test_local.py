"""The journal in local files: the contract, and what its threads must not do."""

from pathlib import Path

from micwire.core.interfaces import Journal
from micwire.files import LocalFiles
from micwire.journal.local import LocalJournal
from micwire.testing import DurableJournalContract, ForgetfulFiles, Heard


class TestLocalJournal(DurableJournalContract):
    """Over real files."""

    def journal(self, directory: Path) -> Journal:
        return LocalJournal(directory / "journal", LocalFiles(), segment_bytes=1 << 16)
