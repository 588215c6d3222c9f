"""Child of the kill tests: resumes a batch on simulated cards."""

from __future__ import annotations

import sys
from pathlib import Path

from personalization.production.journal import open_journal
from personalization.production.policy import Policy
from personalization.production.run import resume_batch
from tests.model.real_line import Outfit

if __name__ == "__main__":
    root, batch = Path(sys.argv[1]), sys.argv[2]
    with open_journal(root / "journal.sqlite") as opened:
        resume_batch(opened, batch, Outfit(root, batch), Policy(tray=4), who="operator")
