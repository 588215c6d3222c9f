"""Child of the kill tests: opens a journal and runs or resumes its batch with scripted equipment."""

from __future__ import annotations

import pickle
import sys

from personalization.errors import PersonalizationError
from personalization.production.journal import open_journal
from personalization.production.policy import Policy
from personalization.production.run import resume_batch
from tests.unit.personalization.scripted_line import Outfit

if __name__ == "__main__":
    with open_journal(pickle.loads(bytes.fromhex(sys.argv[1]))) as opened:  # noqa: S301 - of the test itself
        try:
            result = resume_batch(opened, "batch", Outfit(float(sys.argv[2])), Policy(tray=4), who="operator")
        except PersonalizationError as error:
            sys.exit(f"{error}")
        sys.stdout.write("drained\n" if result.drained else "done\n")
