"""A centre whose keys are in a PKCS#11 token, from the command line: a batch, an HSM that goes, PINs nowhere to see."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from permitcard.system_accounts import system_user
from personalization.keys.keystore import KeyName
from tests.console.command_line import CommandLine
from tests.doubles.softhsm import OFFICER_PIN, USER_PIN, SoftHsm


@pytest.fixture
def hsm(tmp_path: Path) -> SoftHsm:
    return SoftHsm.make(tmp_path / "hsm")


def with_hsm(command: CommandLine, hsm: SoftHsm, **changes: str) -> CommandLine:
    return replace(command, variables={**command.variables, **hsm.variables, **changes})


def test_a_batch_is_made_with_keys_in_a_token_that_goes_away_and_comes_back(
    command: CommandLine, hsm: SoftHsm, tmp_path: Path
) -> None:
    run = with_hsm(command, hsm)
    made = run("keys", "init", "--hsm", "--centre", "centre", "--json")
    assert made.document == {"keys": "rehearsal token", "production": False}
    assert sorted(path.name for path in (tmp_path / "centre").iterdir()) == ["hsm.toml"]
    run("sample", "6", "delivered", "--seed", "5")
    delivered = next((tmp_path / "delivered").glob("*.zip"))
    batch = ("batch", "run", delivered, "--centre", "centre", "--simulate", "--stations", "1", "--json")

    away = hsm.tokens.with_name("away")
    hsm.tokens.rename(away)
    assert run(*batch, code=3).error["code"] in {"hsm-token-missing", "hsm-unavailable"}
    away.rename(hsm.tokens)

    outcome = run(*batch)
    assert outcome.document["good"] == 6
    shown = run("keys", "show", "--centre", "centre", "--json").document
    assert shown["production"] is False
    values: Any = shown["check_values"]
    assert len(values) == len(KeyName)
    assert len(set(values.values())) >= len(KeyName) - 1, "three bytes of two keys may be the same ones"
    everything = made.out + outcome.out + outcome.err
    for path in (path for path in (tmp_path / "centre").rglob("*") if path.is_file()):
        content = path.read_bytes()
        assert USER_PIN.encode() not in content, path
        assert OFFICER_PIN.encode() not in content, path
    assert USER_PIN not in everything


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"PERMITCARD_PKCS11_PIN": "a wrong one"}, "hsm-pin-wrong"),
        ({"PERMITCARD_PKCS11_MODULE": "/nowhere/libhsm.so"}, "hsm-module-unusable"),
        ({"PERMITCARD_PKCS11_TOKEN": "another"}, "hsm-token-missing"),
        ({}, "hsm-store-missing"),
    ],
)
def test_what_is_wrong_with_the_token_is_told(
    command: CommandLine, hsm: SoftHsm, tmp_path: Path, changes: dict[str, str], code: str
) -> None:
    (tmp_path / "centre").mkdir()
    (tmp_path / "centre" / "hsm.toml").write_text(
        f'[pkcs11]\nmodule = "{hsm.module}"\ntoken = "rehearsal token"\n', "utf-8"
    )
    run = with_hsm(command, hsm, **changes)
    told = run("keys", "show", "--centre", "centre", "--lang", "zh", code=3)
    assert told.out == ""
    assert "a wrong one" not in told.err
    assert run("keys", "show", "--centre", "centre", "--json", code=3).error["code"] == code


def test_a_production_store_takes_no_simulated_card(command: CommandLine, hsm: SoftHsm, tmp_path: Path) -> None:
    run = with_hsm(command, hsm)
    assert run("keys", "init", "--production", "--json", code=2).error["code"] == "production-needs-hsm"
    assert run("keys", "init", "--hsm", "--production", "--centre", "centre", "--json").document["production"] is True
    assert run("stock", "show", "--centre", "centre", "--json", code=2).error["code"] == "operators-missing"
    roles = '["receive", "prepare", "run", "inspect", "release", "keys"]'
    roster = f'[operators.li]\nsystem_user = "{system_user()}"\nroles = {roles}\n'
    (tmp_path / "centre" / "operators.toml").write_text(roster, "utf-8")
    refused = run("stock", "receive", "3", "--centre", "centre", "--json", code=2)
    assert refused.error["code"] == "production-keys-simulated-card"


def test_without_pins_and_names_nothing_is_made(command: CommandLine, hsm: SoftHsm, tmp_path: Path) -> None:
    for missing, code in (
        ("PERMITCARD_PKCS11_MODULE", "hsm-nowhere"),
        ("PERMITCARD_PKCS11_PIN", "hsm-pin-nowhere"),
        ("PERMITCARD_PKCS11_SO_PIN", "hsm-pin-nowhere"),
    ):
        variables = {name: value for name, value in hsm.variables.items() if name != missing}
        run = replace(command, variables=variables)
        assert run("keys", "init", "--hsm", "--centre", "centre", "--json", code=2).error["code"] == code
    assert not (tmp_path / "centre").exists()
