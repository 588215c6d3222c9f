"""``--faults`` as a user types it: the suite notices, mistakes are told."""

from __future__ import annotations

from tests.console.command_line import CommandLine

PLAN = '[[fault]]\nkind = "status"\nstatus = "6F00"\nins = 0x84\ncount = 0\n'


def test_the_suite_notices_a_card_that_goes_wrong(command: CommandLine) -> None:
    (command.folder / "plan.toml").write_text(PLAN, encoding="utf-8")
    command("card", "new", "a.card")
    out = command("test", "--card", "sim:a.card", "--faults", "plan.toml", "-k", "challenge", code=1).out
    assert "failed" in out


def test_mistakes_in_a_plan_are_mistakes_of_usage(command: CommandLine) -> None:
    (command.folder / "plan.toml").write_text(PLAN.replace("6F00", "0000"), encoding="utf-8")
    assert "row 1" in command("--lang", "en", "test", "--faults", "plan.toml", code=2).err
    assert command("--json", "test", "--faults", "none.toml", code=2).error["code"] == "fault-plan-unreadable"
    (command.folder / "plan.toml").write_text(PLAN, encoding="utf-8")
    error = command("--json", "test", "--faults", "plan.toml", "--card", "pcsc:X", code=2).error
    assert error["code"] == "faults-simulated-only"
