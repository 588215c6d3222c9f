"""``card new --profile`` as a user gives it."""

from __future__ import annotations

import pytest

from tests.console.command_line import CommandLine


@pytest.mark.parametrize("profile", ["test-keys", "test-keys-scp02", "four-domains"])
def test_the_card_of_a_profile_is_made(command: CommandLine, profile: str) -> None:
    assert "a.card" in command("--lang", "en", "card", "new", "a.card", "--profile", profile).out


def test_mistakes_are_told(command: CommandLine) -> None:
    error = command("--json", "card", "new", "a.card", "--profile", "nothing.toml", code=2).error
    assert error["code"] == "card-profile-unreadable"
    (command.folder / "wrong.toml").write_text(
        'name = "x"\nlife_cycle = "SECURED"\n[issuer]\naid = "A000000151000000"\n', encoding="utf-8"
    )
    error = command("--json", "card", "new", "a.card", "--profile", "wrong.toml", code=2).error
    assert error["code"] == "card-profile-wrong"
    assert "life_cycle" in str(error)
    error = command("--json", "card", "new", "a.card", "--profile", "test-keys", "--blank", code=2).error
    assert error["code"] == "profile-alone"
