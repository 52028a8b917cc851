"""For tests, ours and those of other journals: a disk that forgets, and the contract.

`ForgetfulFiles` is a file system in memory that loses what was not synced, names
included. `JournalContract` and `DurableJournalContract` are classes to inherit: a journal
that passes them is fit. Nothing here is used by a running server.
"""

from micwire.testing.contract import DurableJournalContract, Heard, JournalContract
from micwire.testing.disk import Fault, ForgetfulFiles, PowerCut, Survivors

__all__ = [
    "DurableJournalContract",
    "Fault",
    "ForgetfulFiles",
    "Heard",
    "JournalContract",
    "PowerCut",
    "Survivors",
]
