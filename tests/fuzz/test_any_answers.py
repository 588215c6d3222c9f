"""Any answers of a card to the hosts: what a card says wrong is a result or a coded error, and stops nobody else.

An exception of another kind would end a station, and end it again at the same card when the run is resumed.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from permitcard.recipes import permit_recipe, untimed
from personalization.errors import PersonalizationError
from personalization.inspection.inspector import PermitInspector
from personalization.production.maker import GlobalPlatformMaker
from personalization.production.work import CardFault, KeysRefused, WrongBlank
from reader_bridge.connection import CardConnection, ConnectionDescription, Interface, ReaderError
from reader_bridge.simulated import SimulatedCard
from tests.doubles.issuing_centre import IssuingCentre, applicant

EXPECTED: Final = (PersonalizationError, ReaderError, CardFault, KeysRefused, WrongBlank)
FUZZ: Final = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))

Lie = tuple[int, str, bytes]
"""At which exchange, what is done to the answer, with which bytes."""
LIES: Final = st.lists(
    st.tuples(
        st.integers(0, 40),
        st.sampled_from(["instead", "status", "cut", "longer", "changed", "ok", "status alone"]),
        st.one_of(st.binary(min_size=2, max_size=70), st.sampled_from([b"\x90\x00", b"\x61\x08", b"\x62\x82"])),
    ),
    min_size=1,
    max_size=6,
)


class LyingCard:
    """A genuine card some of whose answers are altered on the way."""

    def __init__(self, genuine: CardConnection, lies: list[Lie]) -> None:
        self._genuine = genuine
        self._lies = {at: (what, content) for at, what, content in lies}
        self._count = 0

    @property
    def description(self) -> ConnectionDescription:
        return self._genuine.description

    def power_on(self) -> bytes:
        return self._genuine.power_on()

    def reset(self) -> bytes:
        return self._genuine.reset()

    def transmit(self, command: bytes) -> bytes:
        answer = self._genuine.transmit(command)
        what, content = self._lies.get(self._count, ("", b""))
        self._count += 1
        data, status = answer[:-2], answer[-2:]
        match what:
            case "instead":
                return content
            case "status":
                return data + content[-2:]
            case "cut":
                return data[: content[0] % (len(data) + 1)] + status
            case "longer":
                return data + content + status
            case "changed" if data:
                at = content[0] % len(data)
                return data[:at] + bytes((data[at] ^ (content[1] or 1),)) + data[at + 1 :] + status
            case "ok":
                return content + b"\x90\x00"
            case "status alone":
                return status
            case _:
                return answer

    def power_off(self) -> None:
        self._genuine.power_off()

    def __enter__(self) -> Self:
        self.power_on()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.power_off()


@pytest.fixture(scope="module")
def centre(tmp_path_factory: pytest.TempPathFactory) -> Generator[IssuingCentre]:
    centre = IssuingCentre(tmp_path_factory.mktemp("centre"))
    yield centre
    centre.close()


@pytest.fixture(scope="module")
def permit(centre: IssuingCentre) -> SimulatedCard:
    return centre.permit(applicant())


@pytest.fixture(scope="module")
def inspector(centre: IssuingCentre) -> PermitInspector:
    return centre.inspector()


@FUZZ
@given(lies=LIES)
def test_a_maker_takes_any_answer(centre: IssuingCentre, permit: SimulatedCard, lies: list[Lie]) -> None:
    """A finished card is nobody's blank, whatever it says."""
    maker = GlobalPlatformMaker(permit_recipe(centre.keystore))
    with LyingCard(permit.connect(), lies) as card, suppress(*EXPECTED):
        maker.look(card)
    record = centre.prepare(applicant()).record
    with LyingCard(permit.connect(), lies) as card, pytest.raises(EXPECTED):
        GlobalPlatformMaker(permit_recipe(centre.keystore)).make(card, record, None, untimed)


@FUZZ
@given(lies=LIES, interface=st.sampled_from(list(Interface)))
def test_an_inspector_takes_any_answer(
    inspector: PermitInspector, permit: SimulatedCard, lies: list[Lie], interface: Interface
) -> None:
    """What is altered is a failed check, and the next card is inspected as if nothing had been."""
    connections: dict[Interface, CardConnection] = {each: permit.connect(each) for each in Interface}
    connections[interface] = LyingCard(connections[interface], lies)
    inspector.inspect(connections[Interface.CONTACT], connections[Interface.CONTACTLESS], 2)
    assert inspector.inspect(permit.connect(), None, 2).passed
