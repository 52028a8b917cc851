"""The journal in memory keeps the manners of a journal, and nothing else."""

from pathlib import Path

from micwire.core.interfaces import Journal
from micwire.journal.memory import MemoryJournal
from micwire.testing import JournalContract


class TestMemoryJournal(JournalContract):
    """The contract but for durability."""

    def journal(self, directory: Path) -> Journal:
        return MemoryJournal()

    def test_nothing_survives(self, tmp_path: Path) -> None:
        self.test_close_commits_what_was_appended(tmp_path)
        self.test_a_new_journal_holds_nothing(tmp_path)
