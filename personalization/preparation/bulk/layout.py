"""Where everything of a batch is while it is prepared, and afterwards.

```
ID.manifest            signed list of the chunks; appears last and stands for all of them
ID.rejects, ID.rejects-2 …   refused rows, sealed
chunks/00001/          appears whole: prepared, source, faces, mailer (sealed), rows, chunk.json (signed)
work/                  removed when the journal knows the batch
    delivery.json      which file this is the work on
    plan.json          appears when the delivery has been dealt out
    rows/00001         sealed rows of a workbook; residences/00001 likewise
    marked/00001       marks of some pictures or residences, each file whole
    index.sqlite       pictures and residences by mark
    checked/00001/     appears whole: source, faces (sealed), marks, findings
    verdict.json       which rows go on
```
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from personalization.atomic_file import flush_content, flush_directory
from personalization.folder_rights import make_folder, settle
from personalization.preparation.manifest import MANIFEST_ENDING
from personalization.preparation.sealed_file import Purpose

CHUNK_STATEMENT: Final = "chunk.json"


@dataclass(frozen=True, slots=True)
class BatchFolder:
    """Paths of one batch.

    Attributes:
        root: the batch's folder.
        identifier: the batch.
    """

    root: Path
    identifier: str

    @property
    def manifest(self) -> Path:
        """The signed list of chunks."""
        return self.root / f"{self.identifier}{MANIFEST_ENDING}"

    @property
    def work(self) -> Path:
        """What is needed during preparation only."""
        return self.root / "work"

    @property
    def delivery(self) -> Path:
        """Which delivery this is the work on."""
        return self.work / "delivery.json"

    @property
    def plan(self) -> Path:
        """How the delivery was dealt out."""
        return self.work / "plan.json"

    @property
    def index(self) -> Path:
        """Pictures and residences by mark."""
        return self.work / "index.sqlite"

    @property
    def verdict(self) -> Path:
        """Which rows go on."""
        return self.work / "verdict.json"

    @property
    def rejected(self) -> Path:
        """Numbers of the rows at fault with the first rule that each breaks, one JSON array a line."""
        return self.work / "rejected.jsonl"

    def marked(self, piece: int) -> Path:
        """Marks of some pictures or residences."""
        return self.work / "marked" / f"{piece:05d}"

    def rows(self, chunk: int) -> Path:
        """Sealed rows of a workbook's first sheet."""
        return self.work / "rows" / f"{chunk:05d}"

    def residences(self, chunk: int) -> Path:
        """Sealed rows of a workbook's second sheet."""
        return self.work / "residences" / f"{chunk:05d}"

    def checked(self, chunk: int) -> Path:
        """What checking made of a chunk."""
        return self.work / "checked" / f"{chunk:05d}"

    def chunk(self, chunk: int) -> Path:
        """What preparation made of a chunk."""
        return self.root / "chunks" / f"{chunk:05d}"

    def clear_work(self) -> None:
        """Remove what is needed during preparation only."""
        shutil.rmtree(self.work, ignore_errors=True)


def sealed_in(folder: Path, purpose: Purpose) -> Path:
    """A sealed file of a chunk."""
    return folder / purpose.label


@contextmanager
def appearing(folder: Path) -> Generator[Path]:
    """A folder to fill with files, which takes its final name in one step when the block ends well, durable.

    Somebody who did the same work faster stands: then what was made here is thrown away. So a piece of work that is
    done twice never mixes what two attempts drew at random.
    """
    make_folder(folder.parent)
    attempt = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=".part"))
    try:
        yield attempt
        settle(attempt, folder.parent)
        flush_content(attempt)
        try:
            attempt.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
        flush_directory(folder.parent)
    finally:
        shutil.rmtree(attempt, ignore_errors=True)


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it where the file system has no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
