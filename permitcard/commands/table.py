"""The commands of the front door, each with its modules, which are loaded when the command is asked for.

A command line starts many times a minute, and every command has options whose types take time to understand: only
those of the command that was typed are looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any, Final, NamedTuple, cast

import typer.main
from typer.core import TyperCommand, TyperGroup


class Entry(NamedTuple):
    """One command.

    Attributes:
        words: what it is for, as its own help begins.
        modules: of this package; ``group`` of the first is the command, that of each further one adds to it. A module
            without a group has ``register``, which adds one command to an application.
    """

    words: str
    modules: tuple[str, ...]


TABLE: Final[Mapping[str, Entry]] = MappingProxyType(
    {
        "demo": Entry("Make the example batch: keys, blanks, 200 verified simulated cards, and a report.", ("demo",)),
        "sample": Entry(
            "Write a batch of synthetic applicants: valid numbers, rare characters, drawn portraits.", ("sample",)
        ),
        "readers": Entry("List the readers that PC/SC knows, real or virtual, and the cards in them.", ("readers",)),
        "matrix": Entry(
            "Run a set of checks for every reader, simulated or connected, with every card; one page of results.",
            ("matrix",),
        ),
        "relay": Entry(
            "Offer a real or simulated card to other programs until Ctrl-C, with rules on the way.", ("relay",)
        ),
        "test": Entry("Run the conformance suite against a simulated or a real card.", ("suite",)),
        "tear": Entry(
            "Cut power at every programming unit of a script, at four moments each, and check the card after every"
            " cut.",
            ("tear",),
        ),
        "approve": Entry(
            "Approve an act that takes two; it holds for one day, once, and stands in the audit trail.", ("approve",)
        ),
        "centre": Entry("Give a centre to a group of system accounts, and check its rights.", ("centre",)),
        "keys": Entry("Make and show the centre's keys.", ("keys", "ceremony", "key_changes")),
        "sam": Entry("Make, show, list and retire SAMs.", ("sam",)),
        "stock": Entry("Receive, count, sample and destroy cards.", ("stock",)),
        "journal": Entry("Choose and show the journal's database.", ("journal",)),
        "station": Entry("Work on a batch, and steer the stations.", ("station",)),
        "batch": Entry(
            "Check, make, resume and report batches.",
            ("batch", "orders", "papers", "faces", "letters", "prepare", "rehearse", "remake", "returns", "scan"),
        ),
        "audit": Entry("Verify, sign and export the audit trail.", ("audit",)),
        "card": Entry("Make, show, read and serve single cards.", ("card", "holder")),
        "gp": Entry("Manage a GlobalPlatform card.", ("gp",)),
        "permit": Entry("Judge applications, count terms and points under dated policies.", ("permit",)),
        "pass": Entry("Issue and verify electronic permits; publish the status list.", ("electronic",)),
        "trace": Entry(
            "Record, show, decode, replay, export, import and compare what passes between reader and card.",
            ("trace",),
        ),
        "case": Entry(
            "Work on applications: receive, review, approve, put into a batch, hand over; watch deadlines.", ("case",)
        ),
        "desk": Entry("Inspect, endorse, change and withdraw permits, with their cards or without.", ("desk",)),
    }
)


def load(modules: tuple[str, ...]) -> TyperCommand | TyperGroup:
    """The command that these modules of `permitcard.commands` make."""
    first, *others = (import_module(f"permitcard.commands.{name}") for name in modules)
    group = getattr(first, "group", None)
    if group is None:
        single = typer.Typer(rich_markup_mode=None, add_completion=False)
        first.register(single)
        return cast("TyperCommand", typer.main.get_command(single))
    merged = typer.Typer(help=group.info.help, no_args_is_help=True, rich_markup_mode=None)
    for part in (group, *(other.group for other in others)):
        merged.add_typer(part)
    return typer.main.get_group(merged)


class _Loading(Mapping[str, TyperCommand | TyperGroup]):
    """The commands of the table by their names."""

    def __getitem__(self, name: str) -> TyperCommand | TyperGroup:
        return load(TABLE[name].modules)

    def __iter__(self) -> Iterator[str]:
        return iter(TABLE)

    def __len__(self) -> int:
        return len(TABLE)


class CommandTable(TyperGroup):
    """The group of all commands; its help comes from the table alone."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands: Any = _Loading()

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order of the table."""
        del ctx
        return list(TABLE)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write what each command is for."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.words) for name, entry in TABLE.items()])
