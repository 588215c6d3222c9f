"""Production keys meet real cards only, rehearsal keys simulated ones only; and no core dump where keys are."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from permitcard.specimen import make_specimen
from personalization.errors import PersonalizationError
from personalization.production.card_kind import GuardedCard
from reader_bridge.connection import ConnectionDescription, Interface
from reader_bridge.stack import Wrapper


class Relabelled(Wrapper):
    """A simulated card that says that it is a real one."""

    __slots__ = ("sent",)

    def __init__(self, inner: object) -> None:
        super().__init__(inner)  # type: ignore[arg-type]  # a connection
        self.sent: list[bytes] = []

    @property
    def description(self) -> ConnectionDescription:
        return replace(self.inner.description, simulated=False)

    def transmit(self, command: bytes) -> bytes:
        self.sent.append(command)
        return self.inner.transmit(command)


@pytest.mark.parametrize("interface", list(Interface))
@pytest.mark.parametrize(
    ("production", "real", "code"),
    [
        (True, False, "production-keys-simulated-card"),
        (False, True, "rehearsal-keys-real-card"),
        (True, True, None),
        (False, False, None),
    ],
)
def test_power_is_given_to_cards_of_the_keys_kind_only(
    interface: Interface, production: bool, real: bool, code: str | None
) -> None:
    with make_specimen()[0] as card:
        inner = card.connect(interface)
        guarded = GuardedCard(Relabelled(inner) if real else inner, production=production)
        if code is None:
            with guarded:
                assert guarded.transmit(bytes.fromhex("00A4040000"))
                assert guarded.reset() == guarded.power_on()
            return
        for turn_on in (guarded.power_on, guarded.reset, guarded.__enter__):
            with pytest.raises(PersonalizationError) as caught:
                turn_on()
            assert (caught.value.code, caught.value.exit_code) == (code, 2)
            port = card.card.contact if interface is Interface.CONTACT else card.card.contactless
            assert not port.powered


def test_a_process_that_opens_keys_leaves_no_core_dump() -> None:
    program = (
        "from personalization.keys.process import is_memory_private, keep_memory_private;"
        "import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]));"
        "before = is_memory_private(); keep_memory_private(); keep_memory_private();"
        "print(before, is_memory_private(), resource.getrlimit(resource.RLIMIT_CORE))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    assert ended.stdout.split(maxsplit=2)[1:] == ["True", "(0, 0)\n"]
