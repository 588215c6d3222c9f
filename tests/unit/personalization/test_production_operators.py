"""Operators: who may do what, what takes two, and that who made does not inspect."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pkcs11 import Attribute, KeyType, MechanismFlag
from pkcs11.util.ec import encode_ec_public_key, encode_named_curve_parameters
from sqlalchemy import func, select

from permitcard.operator_login import operator_of
from permitcard.system_accounts import system_user
from personalization.errors import PersonalizationError
from personalization.keys.hsm.operator_token import OPERATOR_LABEL, prove
from personalization.keys.hsm.token import TokenPlace, logged_in
from personalization.production.acts import ACTS, Act, Role
from personalization.production.journal.batches import (
    BatchEntry,
    change_batch,
    find_batch,
    register_batch,
    release_batch,
)
from personalization.production.journal.database import Journal, now_us
from personalization.production.journal.events import Entry, What, record
from personalization.production.journal.tables import Event
from personalization.production.operators import Operator, Roster, approve, approved, require_two
from personalization.production.states import BatchState
from tests.doubles.softhsm import USER_PIN, fresh_token

EVERYTHING = frozenset(Role)
LI, WANG, ZHAO = (Operator(name, EVERYTHING, name) for name in ("li", "wang", "zhao"))
ROSTER = Roster({one.name: one for one in (LI, WANG, ZHAO)})


@pytest.fixture
def batch(journal: Journal) -> str:
    entry = BatchEntry("B1", bytes(32), "330381", 0, "p", "s", ())
    facts = register_batch(journal, entry, "li")
    with journal.transaction() as connection:
        change_batch(connection, facts.id, BatchState.RUNNING)
        record(connection, "li", [Entry(What.BATCH_RUNNING, facts.id)])
        change_batch(connection, facts.id, BatchState.COMPLETE)
    return "B1"


def count(journal: Journal, what: What) -> int:
    with journal.reading() as connection:
        found = connection.execute(select(func.count(Event.id)).where(Event.what == what.value))
        return int(found.scalar_one())


def code(attempt: pytest.ExceptionInfo[PersonalizationError]) -> tuple[str, int]:
    return attempt.value.code, attempt.value.exit_code


@pytest.mark.parametrize("act", [act for act in Act if not ACTS[act].apart_from_makers])
def test_an_act_takes_a_second_operator(journal: Journal, batch: str, act: Act) -> None:
    with pytest.raises(PersonalizationError) as caught:
        require_two(journal, ROSTER, WANG, act, batch)
    assert code(caught) == ("approval-missing", 2)
    approve(journal, WANG, act, batch)
    with pytest.raises(PersonalizationError, match="approval-missing"):
        require_two(journal, ROSTER, WANG, act, batch)  # one's own
    approval = require_two(journal, ROSTER, ZHAO, act, batch)
    assert approval is not None
    assert approval.by == "wang"
    for other in (one for one in Act if one is not act and not ACTS[one].apart_from_makers):
        with pytest.raises(PersonalizationError, match="approval-missing"):
            require_two(journal, ROSTER, ZHAO, other, batch)
    with pytest.raises(PersonalizationError, match="approval-missing"):
        require_two(journal, ROSTER, ZHAO, act, "another batch")


def test_an_approval_holds_once(journal: Journal, batch: str) -> None:
    approve(journal, WANG, Act.RELEASE, batch)
    approval = require_two(journal, ROSTER, ZHAO, Act.RELEASE, batch)
    release_batch(journal, batch, "zhao", approved(approval))
    with pytest.raises(PersonalizationError, match="approval-missing"):
        require_two(journal, ROSTER, ZHAO, Act.RELEASE, batch)
    with pytest.raises(PersonalizationError, match="batch-released"):
        release_batch(journal, batch, "zhao", {})


def test_an_approval_holds_for_a_day(journal: Journal, batch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    approve(journal, WANG, Act.ERASE, batch)
    tomorrow = now_us() + 25 * 3600 * 1_000_000
    monkeypatch.setattr("personalization.production.operators.now_us", lambda: tomorrow)
    with pytest.raises(PersonalizationError, match="approval-missing"):
        require_two(journal, ROSTER, ZHAO, Act.ERASE, batch)


def test_an_approval_does_not_outlive_a_clock_that_was_set_back(
    journal: Journal, batch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    approve(journal, WANG, Act.ERASE, batch)
    given = now_us()
    for hours, holds in ((0.5, True), (2, False), (24 * 365, False)):
        before = given - int(hours * 3600 * 1_000_000)
        monkeypatch.setattr("personalization.production.operators.now_us", lambda before=before: before)
        if holds:
            assert require_two(journal, ROSTER, ZHAO, Act.ERASE, batch) is not None
        else:
            with pytest.raises(PersonalizationError, match="approval-missing"):
                require_two(journal, ROSTER, ZHAO, Act.ERASE, batch)


def test_two_acts_that_found_the_same_approval_do_not_both_use_it(journal: Journal, batch: str) -> None:
    """Both have looked before either of them writes."""
    approve(journal, WANG, Act.ERASE, batch)
    first, second = (require_two(journal, ROSTER, one, Act.ERASE, batch) for one in (LI, ZHAO))
    assert first == second
    with journal.transaction() as connection:
        record(connection, "li", [Entry(What.BATCH_ERASED, facts=approved(first))])
    with pytest.raises(PersonalizationError) as caught, journal.transaction() as connection:
        record(connection, "zhao", [Entry(What.BATCH_ERASED, facts=approved(second))])
    assert code(caught) == ("approval-used", 2)
    assert count(journal, What.BATCH_ERASED) == 1


def test_one_transaction_uses_an_approval_once(journal: Journal, batch: str) -> None:
    approve(journal, WANG, Act.ERASE, batch)
    facts = approved(require_two(journal, ROSTER, LI, Act.ERASE, batch))
    with pytest.raises(PersonalizationError, match="approval-used"), journal.transaction() as connection:
        record(connection, "li", [Entry(What.BATCH_ERASED, facts=facts), Entry(What.BATCH_ERASED, facts=facts)])


def test_a_change_of_keys_is_told_whatever_became_of_its_approval(journal: Journal, batch: str) -> None:
    """The keys have changed by then, and of a role master concealment with it."""
    approve(journal, WANG, Act.KEYS, "rotate/bank_branch")
    facts = approved(require_two(journal, ROSTER, LI, Act.KEYS, "rotate/bank_branch"))
    for _ in range(2):
        with journal.transaction() as connection:
            record(connection, "li", [Entry(What.KEYS_CHANGED, facts=facts)])
    assert count(journal, What.KEYS_CHANGED) == 2
    with pytest.raises(PersonalizationError, match="approval-missing"):
        require_two(journal, ROSTER, LI, Act.KEYS, "rotate/bank_branch")


def test_an_approval_is_told_from_those_whose_numbers_begin_alike(journal: Journal, batch: str) -> None:
    numbers = list[int]()
    while not any(
        str(number).startswith(str(earlier)) for number in numbers for earlier in numbers if number > earlier
    ):
        approve(journal, WANG, Act.ERASE, batch)
        approval = require_two(journal, ROSTER, LI, Act.ERASE, batch)
        assert approval is not None
        numbers.append(approval.entry)
    with journal.transaction() as connection:
        record(connection, "li", [Entry(What.BATCH_ERASED, facts={"approval": numbers[-1]})])
    found = require_two(journal, ROSTER, LI, Act.ERASE, batch)
    assert found is not None
    assert found.entry == numbers[-2]


def test_who_approved_and_then_made_it_has_approved_nothing(journal: Journal, batch: str) -> None:
    approve(journal, WANG, Act.RELEASE, batch)
    with journal.transaction() as connection:
        record(connection, "wang", [Entry(What.STATION_MANNED, find_batch(journal, batch).id)])
    with pytest.raises(PersonalizationError, match="approval-missing"):
        require_two(journal, ROSTER, ZHAO, Act.RELEASE, batch)


def test_an_approval_holds_as_long_as_who_gave_it_has_the_role(journal: Journal, batch: str) -> None:
    approve(journal, WANG, Act.ERASE, batch)
    lacking = Operator("wang", EVERYTHING - {ACTS[Act.ERASE].approves}, "wang")
    for roster in (Roster({"li": LI}), Roster({"li": LI, "wang": lacking})):
        with pytest.raises(PersonalizationError, match="approval-missing"):
            require_two(journal, roster, LI, Act.ERASE, batch)
    assert require_two(journal, ROSTER, LI, Act.ERASE, batch) is not None


def test_who_worked_at_a_station_that_joined_made_it_too(journal: Journal, batch: str) -> None:
    with journal.transaction() as connection:
        record(connection, "wang", [Entry(What.STATION_MANNED, find_batch(journal, batch).id)])
    with pytest.raises(PersonalizationError, match="maker-inspects"):
        approve(journal, WANG, Act.RELEASE, batch)
    approve(journal, ZHAO, Act.RELEASE, batch)


def test_who_made_neither_releases_nor_approves_it(journal: Journal, batch: str) -> None:
    with pytest.raises(PersonalizationError) as caught:
        approve(journal, LI, Act.RELEASE, batch)
    assert code(caught) == ("maker-inspects", 2)
    approve(journal, WANG, Act.RELEASE, batch)
    with pytest.raises(PersonalizationError, match="maker-inspects"):
        require_two(journal, ROSTER, LI, Act.RELEASE, batch)
    assert require_two(journal, ROSTER, ZHAO, Act.RELEASE, batch) is not None


@pytest.mark.parametrize(
    "act", [act for act in Act if not ACTS[act].apart_from_makers and not ACTS[act].approver_apart]
)
def test_who_made_a_batch_may_approve_what_is_not_about_its_quality(journal: Journal, batch: str, act: Act) -> None:
    approve(journal, LI, act, batch)
    approval = require_two(journal, ROSTER, WANG, act, batch)
    assert approval is not None
    assert approval.by == "li"


@pytest.mark.parametrize("act", list(Act))
def test_both_need_their_roles(journal: Journal, batch: str, act: Act) -> None:
    pair = ACTS[act]
    assert pair.acts is not pair.approves
    lacking_one = Operator("zhao", EVERYTHING - {pair.acts}, "zhao")
    lacking_other = Operator("wang", EVERYTHING - {pair.approves}, "wang")
    with pytest.raises(PersonalizationError) as caught:
        require_two(journal, ROSTER, lacking_one, act, batch)
    assert code(caught) == ("role-missing", 2)
    with pytest.raises(PersonalizationError, match="role-missing"):
        approve(journal, lacking_other, act, batch)


def test_a_rehearsal_of_one_person_stays_usable(journal: Journal, batch: str, tmp_path: Path) -> None:
    roster = Roster.load(tmp_path / "none.toml", production=False)
    assert roster.alone
    alone = roster.of_user("li")
    for act in Act:
        assert require_two(journal, roster, alone, act, batch) is None
    assert approved(None) == {"approval": None, "approved_by": None}


def test_production_needs_a_roster(tmp_path: Path) -> None:
    with pytest.raises(PersonalizationError) as caught:
        Roster.load(tmp_path / "none.toml", production=True)
    assert code(caught) == ("operators-missing", 2)


def roster_file(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


def test_a_roster_knows_users_by_name_and_by_key(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    encoded = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    path = roster_file(
        tmp_path / "operators.toml",
        f"""[operators.li]
roles = ["run", "prepare"]
[operators.wang]
system_user = "wang.x"
roles = ["inspect"]
[operators.zhao]
public_key = "{encoded.hex()}"
roles = []
""",
    )
    roster = Roster.load(path, production=True)
    assert roster.of_user("li").roles == {Role.RUN, Role.PREPARE}
    assert roster.of_user("wang.x").name == "wang"
    assert roster.named("zhao").public_key == encoded
    for user in ("zhao", "nobody"):
        with pytest.raises(PersonalizationError, match="operator-unknown"):
            roster.of_user(user)
    with pytest.raises(PersonalizationError, match="operator-unknown"):
        roster.named("li")
    with pytest.raises(PersonalizationError, match="role-missing"):
        roster.named("zhao").require(Role.KEYS)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[operators]",
        "operators = 1",
        "[operators.li]",
        '[operators.li]\nroles = "run"',
        '[operators.li]\nroles = ["rule"]',
        "[operators.li]\nroles = { run = 1 }",
        '[operators.li]\nroles = []\npublic_key = "zz"',
        '[operators.li]\nroles = []\npublic_key = "00"\nsystem_user = "li"',
        "[operators.li]\nroles = []\nrole = 1",
        '[operators.li]\nroles = []\n[operators.wang]\nroles = []\nsystem_user = "li"',
        '[operators.li]\nroles = []\npublic_key = "00"\n[operators.wang]\nroles = []\npublic_key = "00"',
        "[",
    ],
)
def test_a_roster_that_makes_no_sense_is_refused(tmp_path: Path, text: str) -> None:
    path = roster_file(tmp_path / "operators.toml", text)
    with pytest.raises(PersonalizationError) as caught:
        Roster.load(path, production=False)
    assert code(caught) == ("operators-malformed", 2)


def test_the_environment_does_not_say_who_somebody_is(monkeypatch: pytest.MonkeyPatch) -> None:
    before = system_user()
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(variable, "somebody else")
    assert system_user() == before


def test_an_operator_proves_a_key_in_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    hsm, label = fresh_token()
    place = TokenPlace(hsm.module, label)
    with logged_in(place, USER_PIN.encode(), write=True) as session:
        curve = {Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}
        public, _ = session.create_domain_parameters(KeyType.EC, curve, local=True).generate_keypair(
            label=OPERATOR_LABEL, store=True, capabilities=MechanismFlag.SIGN | MechanismFlag.VERIFY
        )
        encoded = encode_ec_public_key(public)
    prove(place, USER_PIN.encode(), encoded, "zhao")
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    strange = other.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    for key in (strange, b"no key"):
        with pytest.raises(PersonalizationError) as caught:
            prove(place, USER_PIN.encode(), key, "zhao")
        assert code(caught) == ("operator-not-proved", 2)
    zhao = Operator("zhao", EVERYTHING, None, encoded)
    roster = Roster({"zhao": zhao})
    monkeypatch.setenv("PERMITCARD_OPERATOR", "zhao")
    with pytest.raises(PersonalizationError, match="operator-token-nowhere"):
        operator_of(roster)
    monkeypatch.setenv("PERMITCARD_OPERATOR_MODULE", hsm.module)
    monkeypatch.setenv("PERMITCARD_OPERATOR_TOKEN", label)
    monkeypatch.setenv("PERMITCARD_OPERATOR_PIN", USER_PIN)
    assert operator_of(roster) == zhao
    assert os.environ["PERMITCARD_OPERATOR_PIN"] == USER_PIN
    monkeypatch.setenv("PERMITCARD_OPERATOR", "nobody")
    with pytest.raises(PersonalizationError, match="operator-unknown"):
        operator_of(roster)
