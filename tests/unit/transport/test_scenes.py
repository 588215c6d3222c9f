"""The scenes of the standards and of their test methods, both sides against each other with blocks lost and damaged."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.resources import files

import pytest

from card_os.hardware.clock import VirtualClock
from card_os.transport import t1_blocks, tcl_blocks
from card_os.transport.events import Broken, Completed
from card_os.transport.parameters import LineParameters
from card_os.transport.t1_card import T1Card
from card_os.transport.t1_reader import T1Reader
from card_os.transport.tcl_card import TclCard
from card_os.transport.tcl_reader import TclReader
from card_os.transport.timing import ContactlessTiming
from card_os.transport.wire import Direction, Wire

FRAME = 32
_STEP = re.compile(r"exchange (?P<command>\d+) (?P<answer>\d+)(?: waits (?P<waits>\d+))?|check|deselect")
_LINE = re.compile(r"(?P<side>[<>]) (?P<block>\S+)(?: (?P<fate>lost|damaged))?")
_KEYS = {"name", "clause", "steps", "blocks", "end", "cid", "nad", "ifsd", "crc", "longest"}


@dataclass(frozen=True)
class Scene:
    """One scene of a file."""

    protocol: str
    name: str
    clause: str
    steps: tuple[str, ...]
    lines: tuple[tuple[str, str], ...]
    """Side and block, and what became of it."""
    ends: tuple[str, ...]
    cid: int | None = None
    nad: int | None = None
    ifsd: int = 32
    crc: bool = False
    longest: int = t1_blocks.MAX_MESSAGE

    def __str__(self) -> str:
        return f"{self.protocol} {self.name}"


def load(protocol: str) -> list[Scene]:
    text = files("test_vectors").joinpath(f"scenes/{protocol}.toml").read_text(encoding="utf-8")
    scenes: list[Scene] = []
    for row in tomllib.loads(text)["scene"]:
        assert row.keys() <= _KEYS, row["name"]
        assert all(_STEP.fullmatch(step) for step in row["steps"]), row["name"]
        found = [_LINE.fullmatch(line) for line in row["blocks"].strip().splitlines()]
        lines = tuple((f"{line['side']} {line['block']}", line["fate"] or "") for line in found if line is not None)
        assert len(lines) == len(found), row["name"]
        ends = tuple(row.get("end", "answered").split(", "))
        options = {key: row[key] for key in ("cid", "nad", "ifsd", "crc", "longest") if key in row}
        scenes.append(Scene(protocol, row["name"], row["clause"], tuple(row["steps"]), lines, ends, **options))
    return scenes


SCENES = [*load("t1"), *load("tcl")]


@dataclass
class Line:
    """Plays the fates of a scene and writes down what was sent."""

    scene: Scene
    describe: Callable[[bytes], str]
    sent: list[tuple[str, str]] = field(default_factory=list)

    def __call__(self, direction: Direction, data: bytes) -> bytes:
        fate = self.scene.lines[len(self.sent)][1] if len(self.sent) < len(self.scene.lines) else ""
        side = ">" if direction is Direction.TO_CARD else "<"
        self.sent.append((f"{side} {self.describe(data)}", fate))
        if fate == "lost":
            return b""
        return data[:-1] + bytes((data[-1] ^ 0x5A,)) if fate == "damaged" else data


@dataclass
class Work:
    """What the card does at a step: how long its answer is, and how many waiting times it asks for."""

    answer: bytes = b""
    waits: int = 0
    executed: int = 0

    def __call__(self, _command: bytes) -> bytes:
        self.executed += 1
        return self.answer


def describe_t1(scene: Scene) -> Callable[[bytes], str]:
    nad = scene.nad or 0
    codecs = [t1_blocks.Framing(crc=scene.crc, nad=one) for one in (nad, nad >> 4 | (nad & 7) << 4)]

    def describe(data: bytes) -> str:
        codec = codecs[0] if data[0] != nad else codecs[1]
        return repr(codec.decode(data))

    return describe


def describe_tcl(scene: Scene) -> Callable[[bytes], str]:
    codec = tcl_blocks.BlockCodec(tcl_blocks.ContactlessType.A)
    seen: set[str] = set()

    def describe(data: bytes) -> str:
        block = codec.decode(data)
        assert block.cid == scene.cid, "a block without the card's CID"
        if scene.nad is not None and block.kind is tcl_blocks.Kind.INFORMATION:
            seen.add(f"{block.nad}")
        return repr(block)

    return describe


def t1_wire(scene: Scene, work: Work, line: Line) -> tuple[Wire, T1Reader]:
    parameters = LineParameters((1,), ifsc=32, crc=scene.crc)
    nad = scene.nad or 0
    reader = T1Reader(parameters, parameters.timing(), ifsd=scene.ifsd, nad=nad)
    card = T1Card(parameters, nad=nad >> 4 | (nad & 7) << 4, max_command=scene.longest)
    return Wire(reader, card, work, VirtualClock(), disturbance=line, extension=lambda _ns: work.waits), reader


def tcl_wire(scene: Scene, work: Work, line: Line) -> tuple[Wire, TclReader]:
    reader = TclReader(ContactlessTiming(), FRAME, cid=scene.cid, nad=scene.nad)
    card = TclCard(FRAME, cid=scene.cid or 0, nad_supported=scene.nad is not None)
    return Wire(reader, card, work, VirtualClock(), disturbance=line, extension=lambda _ns: work.waits), reader


def play(scene: Scene) -> tuple[list[tuple[str, str]], list[str], Work]:
    """Run all steps; what was sent, how each step ended, and what the card did."""
    work = Work()
    line = Line(scene, describe_t1(scene) if scene.protocol == "t1" else describe_tcl(scene))
    wire: Wire
    if scene.protocol == "t1":
        wire, _ = t1_wire(scene, work, line)
        special: dict[str, Callable[[], object]] = {}
    else:
        wire, tcl = tcl_wire(scene, work, line)
        special = {"check": lambda: wire.run(tcl.check_presence()), "deselect": lambda: wire.run(tcl.deselect())}
    ends: list[str] = []
    for step in scene.steps:
        if step in special:
            result = special[step]()
            expected = b""
        else:
            found = _STEP.fullmatch(step)
            assert found is not None
            expected = work.answer = bytes(range(int(found["answer"])))
            work.waits = int(found["waits"] or 0)
            result = wire.transmit(bytes(int(found["command"])))
        if isinstance(result, Broken):
            ends.append(result.failure.value)
        else:
            assert result == Completed(expected)
            ends.append("answered")
    return line.sent, ends, work


@pytest.mark.parametrize("scene", SCENES, ids=str)
def test_scene(scene: Scene) -> None:
    sent, ends, work = play(scene)
    assert sent == list(scene.lines)
    assert ends == list(scene.ends) + ["answered"] * (len(scene.steps) - len(scene.ends))
    exchanges = sum(step.startswith("exchange") for step in scene.steps)
    assert work.executed <= exchanges
    assert work.executed >= sum(end == "answered" for end in ends) - (len(scene.steps) - exchanges)


def test_the_files_have_the_scenes_that_the_standards_print() -> None:
    tcl, t1 = load("tcl"), load("t1")
    assert sum("annex B" in scene.clause or ", B." in scene.clause for scene in tcl) == 18
    assert len(t1) >= 30
    names = [str(scene) for scene in SCENES]
    assert len(names) == len(set(names))
    assert all(scene.clause.startswith("ISO/IEC ") for scene in SCENES)


def test_each_side_loses_and_damages_blocks_of_every_kind() -> None:
    """No kind of block is only ever seen to arrive."""
    for protocol, kinds in (("t1", "IRS"), ("tcl", "IRS")):
        for kind in kinds:
            for side in "<>":
                fates = {
                    fate
                    for scene in SCENES
                    if scene.protocol == protocol
                    for text, fate in scene.lines
                    if text.startswith(f"{side} {kind}")
                }
                assert fates & {"lost", "damaged"}, f"{protocol}: {side} {kind}"
