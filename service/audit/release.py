"""What this release put into a database to protect its evidence, and whether it is still there."""

from collections.abc import Iterable, Iterator

from loradex.db.sqlfiles import SqlFile, live_files
from loradex.service.audit import function, privilege, trigger
from loradex.service.audit.evidence import LINKS
from loradex.service.audit.finding import Finding
from loradex.service.audit.snapshot import Connection


class Release:
    """The functions and triggers of this release.

    Attributes:
        functions: Signature → function.
        triggers: All of them.
    """

    def __init__(self, files: Iterable[SqlFile]) -> None:
        texts = [file.text for file in files if file.kind == "functions"]
        self.functions = {key: one for text in texts for key, one in function.functions_in(text).items()}
        self.triggers = frozenset(one for text in texts for one in trigger.triggers_in(text))

    @classmethod
    def installed(cls) -> "Release":
        """What the live files of this installation say."""
        return cls(live_files())

    def findings(self, connection: Connection) -> Iterator[Finding]:
        """Where a database differs: in its functions, its triggers, and in who may write evidence."""
        yield from function.differences(connection, self.functions)
        yield from trigger.differences(connection, self.triggers)
        yield from privilege.writers(connection, LINKS)
