"""Child of the lease tests: one station with scripted equipment; prints how it ended."""

from __future__ import annotations

import pickle
import sys

from personalization.production.journal import open_journal
from personalization.production.policy import Policy
from personalization.production.station import Line, Station
from tests.unit.personalization.scripted_line import Outfit

if __name__ == "__main__":
    place, batch, name, lease, delay = sys.argv[1:]
    with (
        open_journal(pickle.loads(bytes.fromhex(place)), migrate=False) as opened,  # noqa: S301 - of the test itself
        Outfit(float(delay))() as equipment,
    ):
        policy = Policy(tray=4, lease_s=int(lease))
        line = Line(lambda _seconds: False, lambda _progress: None)
        ending = Station(opened, int(batch), name, equipment, policy, line).work()
        sys.stdout.write(f"{ending.value}\n")
