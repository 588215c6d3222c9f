"""The store against a dictionary: any sequence of changes, scopes, reboots and cuts."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from card_os.hardware.chip import CellKind, Chip
from card_os.hardware.image import NvmImage
from card_os.hardware.power import CutMoment
from card_os.iso7816.errors import CardTorn, FileExists, MemoryFailure, NotEnoughMemory
from card_os.storage.objects import counter_bytes
from card_os.storage.store import ObjectKind, ObjectStore

WORDS = Chip("words", 12_288, 64, 4, 0x00, 1, 1)
EEPROM = Chip("eeprom", 12_288, 64, 4, 0x00, 1, 1_000_000, CellKind.EEPROM, 1)
FLASH = Chip("flash", 12_288, 512, 4, 0xFF, 1, 1_000_000, CellKind.FLASH, 1)
CHIPS = [WORDS, EEPROM, FLASH]
NAMES = st.tuples(st.integers(0, 2), st.sampled_from([ObjectKind.FILE, ObjectKind.KEY]), st.integers(0, 3))
Name = tuple[int, ObjectKind, int]
State = dict[Name, bytes]


class StoreAgainstDictionary(RuleBasedStateMachine):
    chip = WORDS

    def __init__(self) -> None:
        super().__init__()
        self.nvm = NvmImage.create(chip=self.chip).nvm()
        self.store = ObjectStore(self.nvm)
        self.state: State = {}
        self.outer: list[State] = []

    @rule(name=NAMES, size=st.integers(0, 3_000), content=st.binary(max_size=40), fill=st.integers(0, 255))
    def create(self, name: Name, size: int, content: bytes, fill: int) -> None:
        size = max(size, len(content))
        room = self.store.free
        try:
            self.store.create(*name, size, content, fill)
        except FileExists:
            assert name in self.state
        except NotEnoughMemory:
            _, kind, identifier = name
            cells = self.store._memory.counter_room if counter_bytes(kind, identifier, size) else 0
            assert size + cells > room or self.outer
        else:
            assert name not in self.state
            self.state[name] = content + bytes((fill,)) * (size - len(content))

    @rule(name=NAMES)
    def delete(self, name: Name) -> None:
        item = self.store.find(*name)
        assert (item is not None) == (name in self.state)
        if item:
            try:
                self.store.delete(item)
            except NotEnoughMemory:
                assert self.outer
            else:
                del self.state[name]

    @rule(name=NAMES, at=st.floats(0, 1), data=st.binary(max_size=60))
    def write(self, name: Name, at: float, data: bytes) -> None:
        item = self.store.find(*name)
        if not item or len(data) > item.size:
            return
        offset = int(at * (item.size - len(data)))
        try:
            with self.store.transaction():
                self.store.write(item, offset, data)
        except NotEnoughMemory:
            assert self.outer
            return
        old = self.state[name]
        self.state[name] = old[:offset] + data + old[offset + len(data) :]

    @rule(name=NAMES, at=st.floats(0, 1), value=st.binary(min_size=1, max_size=1))
    def write_through(self, name: Name, at: float, value: bytes) -> None:
        item = self.store.find(*name)
        if not item or not item.size:
            return
        offset = int(at * (item.size - 1))
        if not offset and item.kind is ObjectKind.KEY:
            self.store.count(item, value)
        else:
            self.store.write_through(item, offset, value)
        for state in (self.state, *self.outer):
            if name in state and self._same_object(name, state):
                state[name] = state[name][:offset] + value + state[name][offset + 1 :]

    def _same_object(self, name: Name, state: State) -> bool:
        return state is self.state or self.born.get(name, 0) <= self.outer.index(state)

    @property
    def born(self) -> dict[Name, int]:
        """Scope depth at which the living object of a name was made, 0 when before all scopes."""
        depth: dict[Name, int] = {}
        for item in self.store._created:
            name = (item.owner, item.kind, item.identifier)
            if self.store.find(*name) is item:
                index = self.store._created.index(item)
                depth[name] = sum(1 for savepoint in self.store._savepoints if savepoint.created <= index)
        return depth

    @precondition(lambda self: len(self.outer) < 3)
    @rule()
    def begin(self) -> None:
        self.store.transaction().__enter__()
        self.outer.append(dict(self.state))

    @precondition(lambda self: self.outer)
    @rule()
    def commit(self) -> None:
        self.store.transaction().__exit__(None, None, None)
        self.outer.pop()

    @precondition(lambda self: self.outer)
    @rule()
    def roll_back(self) -> None:
        error = LookupError()
        self.store.transaction().__exit__(LookupError, error, None)
        self.state = self.outer.pop()

    @rule()
    def reboot(self) -> None:
        self.store = ObjectStore(self.nvm)
        if self.outer:
            self.state = self.outer[0]
            self.outer = []

    @precondition(lambda self: self.outer)
    @rule(unit=st.integers(1, 60), moment=st.sampled_from(CutMoment))
    def commit_with_a_cut(self, unit: int, moment: CutMoment) -> None:
        while len(self.outer) > 1:
            self.commit()
        self.nvm.power.arm(unit, moment)
        torn = False
        try:
            self.store.transaction().__exit__(None, None, None)
        except CardTorn:
            torn = True
        self.nvm.power.restore()
        self.store = ObjectStore(self.nvm)
        old, self.outer = self.outer[0], []
        found = self.contents()
        assert found == self.state or (torn and found == old)
        self.state = found

    def contents(self) -> State:
        return {
            (item.owner, item.kind, item.identifier): self.store.read(item)
            for owner in range(3)
            for item in self.store.owned(owner)
        }

    @invariant()
    def they_agree(self) -> None:
        assert self.contents() == self.state

    @invariant()
    def free_memory_is_blank(self) -> None:
        if not self.outer:
            blank = bytes((self.chip.erased,))
            assert all(self.store._read(a, b - a) == blank * (b - a) for a, b in self.store._heap.gaps())


class MappedStoreOnEeprom(StoreAgainstDictionary):
    chip = EEPROM


class MappedStoreOnFlash(StoreAgainstDictionary):
    chip = FLASH


TestStoreAgainstDictionary = StoreAgainstDictionary.TestCase
TestMappedStoreOnEeprom = MappedStoreOnEeprom.TestCase
TestMappedStoreOnFlash = MappedStoreOnFlash.TestCase
TestStoreAgainstDictionary.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestMappedStoreOnEeprom.settings = TestMappedStoreOnFlash.settings = TestStoreAgainstDictionary.settings


@pytest.mark.parametrize("chip", [WORDS, EEPROM], ids=lambda chip: chip.name)
@given(damage=st.lists(st.tuples(st.integers(0, 4_500), st.integers(0, 255)), min_size=1, max_size=8))
@settings(max_examples=200, deadline=None)
def test_a_damaged_memory_boots_or_is_refused(chip: Chip, damage: list[tuple[int, int]]) -> None:
    """Never another exception: the card is mute then."""
    nvm = NvmImage.create(chip=chip).nvm()
    store = ObjectStore(nvm)
    for number in range(6):
        store.create(number % 2, ObjectKind.FILE, number, 60, b"content")
    for offset, value in damage:
        nvm.write(offset, bytes((value,)))
    with contextlib.suppress(MemoryFailure):
        booted = ObjectStore(nvm)
        for owner in range(2):
            for item in booted.owned(owner):
                booted.read(item)
