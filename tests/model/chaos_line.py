"""A line of simulated cards for the chaos test: a station dies with its card in the middle of a write when it is told.

As a script: the coordinator of one batch of a centre, with four stations.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from card_os.card import Card
from card_os.hardware.nvm import Nvm
from card_os.hardware.power import CutMoment, PowerSupply
from permitcard.outfit import StationOutfit
from permitcard.products import boot
from personalization.errors import PersonalizationError
from personalization.production.fence import Fence
from personalization.production.work import EnterStep, Equipment, Interfaces, Look, Maker
from reader_bridge.connection import CardConnection, Interface, ReaderError
from reader_bridge.simulated import open_card

LEASE_S = 3
EVERYTHING = "everything"
"""The ticket for all cards that are left."""

_WAIT_S = 0.02
STATIONS = 4
MOMENTS = tuple(CutMoment)


class Bench:
    """The card that is in the station now."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.power: PowerSupply | None = None

    @contextmanager
    def connect(self, location: str) -> Iterator[Interfaces]:
        def booted(nvm: Nvm) -> Card:
            card = boot(nvm)
            self.power = nvm.power
            return card

        with open_card(self._root / location.removeprefix("sim:"), booted) as card:
            yield Interfaces(card.connect(Interface.CONTACT), card.connect(Interface.CONTACTLESS))


@dataclass(frozen=True)
class TearingMaker:
    """Begins a card when there is a ticket, so that the moments of the test find cards at work on any machine.

    It dies with its card at the programming unit that the first file in ``orders`` names.
    """

    maker: Maker
    bench: Bench
    orders: Path

    def look(self, card: CardConnection) -> Look:
        return self.maker.look(card)

    def terminate(self, card: CardConnection, card_number: bytes) -> bool:
        return self.maker.terminate(card, card_number)

    def make(
        self,
        card: CardConnection,
        record: object,
        card_number: bytes | None,
        enter: EnterStep,
        fence: Fence | None = None,
    ) -> bytes:
        while not self._ticket():
            enter("waiting")  # the station stays alive
            time.sleep(_WAIT_S)
        for order in sorted(self.orders.iterdir()):
            taken = self.orders.with_name("taken") / order.name
            try:
                order.rename(taken)
            except FileNotFoundError:
                continue  # another station was faster
            _, unit, moment = order.name.split("-")
            assert self.bench.power is not None
            self.bench.power.arm(int(unit), MOMENTS[int(moment)])
            break
        try:
            return self.maker.make(card, record, card_number, enter, fence)
        except ReaderError:
            if self.bench.power is not None and not self.bench.power.on:
                os.kill(os.getpid(), signal.SIGKILL)
            raise

    def _ticket(self) -> bool:
        for ticket in sorted(self.orders.with_name("tickets").iterdir(), reverse=True):
            if ticket.name == EVERYTHING:
                return True
            with suppress(FileNotFoundError):  # another station was faster
                ticket.unlink()
                return True
        return False


@dataclass(frozen=True)
class TearingOutfit:
    """A centre's own outfit, with a card that can be torn."""

    outfit: StationOutfit
    orders: Path

    @contextmanager
    def __call__(self) -> Iterator[Equipment]:
        with self.outfit() as equipment:
            bench = Bench(self.outfit.root)
            maker = TearingMaker(equipment.maker, bench, self.orders)
            yield replace(equipment, maker=maker, connect=bench.connect)


def coordinate(root: Path, batch: str, orders: Path) -> int:
    # Here and not above: a station's process does without.
    from permitcard.centre import Centre
    from permitcard.job import Job
    from personalization.production.policy import Policy
    from personalization.production.run import resume_batch

    with Job.open(Centre(root)) as job:
        outfit = TearingOutfit(job.outfit(batch), orders)
        policy = Policy(stations=STATIONS, tray=4, lease_s=LEASE_S, restarts=256)
        try:
            resume_batch(job.journal, batch, outfit, policy, who="li")
        except PersonalizationError as error:
            sys.stderr.write(f"{error}\n")
            return error.exit_code
        finally:
            job.keys.close()
    return 0


if __name__ == "__main__":
    sys.exit(coordinate(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))
