"""``permitcard keys rotate``, ``export``, ``import``, ``destroy``: single keys, two operators, a signed record each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from permitcard.commands.options import CentreOption, console_of
from personalization.errors import PersonalizationError, unread
from personalization.keys.changes import KeyAct, KeyChange
from personalization.keys.keystore import (
    CARD_MASTERS,
    DOMAIN_MASTERS,
    KEY_PAIRS,
    KEY_USES,
    LASTING_PAIRS,
    ROLE_MASTERS,
    SAM_KEYS,
    KeyName,
    KeyUse,
)

if TYPE_CHECKING:
    from permitcard.centre import Centre
    from permitcard.job import Job
    from personalization.keys.administration import KeyAdministration
    from personalization.production.operators import Approval

group = typer.Typer(rich_markup_mode=None)

KeyArgument = Annotated[KeyName, typer.Argument(help="The key.", metavar="KEY")]
WRAPPED_KIND: Final = "permitcard wrapped key"


@group.command("rotate")
def rotate(context: typer.Context, key: KeyArgument, centre: CentreOption = Path("centre")) -> None:
    """Put a new key in use; the one before opens what it sealed until it is destroyed.

    Of document_signer, audit and clock a new pair with a certificate: what the one before has signed stays valid. The
    former clock goes on signing, for cards that were made know no other. An authority signs its successor; signers get
    certificates of the new one when they are rotated. With a role master concealment is replaced too, by which a SAM
    tells cards of before from its own.
    """
    from permitcard.centre import Centre
    from permitcard.desk_office import sign_bound_again
    from permitcard.job import Job
    from permitcard.key_trail import announce, one_change_at_a_time

    console = console_of(context)
    place = Centre(centre)
    act = KeyAct(KeyChange.ROTATE, key)
    with one_change_at_a_time(place):
        with Job.open(place) as job:
            require_no_production(job, key)
            approval = job.two_for_keys(act)
            before = announce(job, act)
            job.keys.close()
        if before is None:
            conceal_anew(place, key, approval)
            before = administration(place).replace(key).before.hex().upper()
        with Job.open(place) as job:
            facts = {"before": before, "after": job.keys.check_value(key).hex().upper()}
            path = job.changed_key(key, "rotated", facts, approval)
            if key is KeyName.CLOCK:
                sign_bound_again(job)
    console.say(said_of(key), key=key.value, path=path, **facts)
    console.result({"key": key.value, **facts, "record": str(path)})


@group.command("authority")
def authority(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="File to write.", metavar="FILE")],
    centre: CentreOption = Path("centre"),
) -> None:
    """Write the certificates of the authority, the former ones and the links between them too, for auditors."""
    from permitcard.centre import Centre
    from personalization.atomic_file import write_atomically
    from personalization.keys.authorities import authorities_of

    console = console_of(context)
    store = Centre(centre).key_store().open()
    try:
        certificates = authorities_of(store)
    finally:
        store.close()
    write_atomically(file, certificates)
    console.say("keys.authority", path=file)
    console.result({"authority": str(file)})


@group.command("export")
def export(
    context: typer.Context,
    key: KeyArgument,
    file: Annotated[Path, typer.Argument(help="File to write.", metavar="FILE")],
    centre: CentreOption = Path("centre"),
) -> None:
    """Wrap a key under the exchange key (RFC 3394) for another centre that holds it too."""
    from permitcard.centre import Centre
    from permitcard.job import Job
    from personalization.atomic_file import write_atomically

    console = console_of(context)
    place = Centre(centre)
    if file.exists():
        raise PersonalizationError("wrapped-key-exists", exit_code=2, file=str(file))
    with Job.open(place) as job:
        approval = job.two_for_keys(KeyAct(KeyChange.EXPORT, key))
        values = {name: job.keys.check_value(name).hex().upper() for name in (key, KeyName.EXCHANGE)}
        job.keys.close()
    wrapped = administration(place).export(key)
    document = {
        "kind": WRAPPED_KIND,
        "key": key.value,
        "check_value": values[key],
        "under": values[KeyName.EXCHANGE],
        "wrapped": wrapped.hex().upper(),
    }
    with Job.open(place) as job:  # no key leaves that the trail does not know of
        path = job.changed_key(key, "exported", {"check_value": values[key], "under": document["under"]}, approval)
    write_atomically(file, json.dumps(document, indent=2).encode() + b"\n", replace=False)
    console.say("keys.exported", key=key.value, path=file, check_value=values[key])
    console.result({"key": key.value, "file": str(file), "check_value": values[key], "record": str(path)})


@group.command("import")
def take_in(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="File that the other centre wrote.", metavar="FILE")],
    centre: CentreOption = Path("centre"),
) -> None:
    """Take in a key that came wrapped under the exchange key, and put it in use.

    With a role master concealment is replaced too, as by rotate: take in concealment last.
    """
    from permitcard.centre import Centre
    from permitcard.job import Job
    from permitcard.key_trail import announce, one_change_at_a_time

    console = console_of(context)
    place = Centre(centre)
    act, wrapped, under = _read_wrapped(file)
    key = act.key
    with one_change_at_a_time(place):
        with Job.open(place) as job:
            require_no_production(job, key)
            approval = job.two_for_keys(act)
            ours = job.keys.check_value(KeyName.EXCHANGE).hex().upper()
            job.keys.close()
        if under != ours:
            raise PersonalizationError("exchange-key-other", exit_code=2, file=str(file), under=under, ours=ours)
        if (found := administration(place).arrived(key, wrapped)) != act.check_value:
            expected = act.check_value.hex().upper()
            raise PersonalizationError(
                "imported-check-value", key=key.value, found=found.hex().upper(), expected=expected
            )
        with Job.open(place) as job:
            before = announce(job, act)
            job.keys.close()
        if before is None:
            conceal_anew(place, key, approval)
            before = administration(place).take_in(key, wrapped).before.hex().upper()
        with Job.open(place) as job:
            facts = {"before": before, "after": job.keys.check_value(key).hex().upper()}
            path = job.changed_key(key, "imported", facts, approval)
    console.say(said_of(key), key=key.value, path=path, **facts)
    console.result({"key": key.value, **facts, "record": str(path)})


@group.command("destroy")
def destroy(
    context: typer.Context,
    key: KeyArgument,
    check_value: Annotated[str, typer.Argument(help="Check value of the former key.", metavar="CHECK_VALUE")],
    centre: CentreOption = Path("centre"),
) -> None:
    """Destroy a former key, and write a signed record of it."""
    from permitcard.centre import Centre
    from permitcard.desk_office import sign_bound_again
    from permitcard.job import Job
    from permitcard.key_trail import announce, one_change_at_a_time

    console = console_of(context)
    place = Centre(centre)
    try:
        act = KeyAct.parse(f"{KeyChange.DESTROY}/{key}/{check_value}")
    except PersonalizationError:
        raise PersonalizationError("former-key-missing", exit_code=2, key=key.value, check_value=check_value) from None
    value = act.check_value.hex().upper()
    with one_change_at_a_time(place):
        with Job.open(place) as job:
            require_no_production(job, key, destroyed=True)
            approval = job.two_for_keys(act)
            announce(job, act)
            job.keys.close()
        administration(place).destroy(key, act.check_value)
        with Job.open(place) as job:
            path = job.changed_key(key, "destroyed", {"check_value": value}, approval)
            if key is KeyName.CLOCK:
                sign_bound_again(job)
    code = f"keys.{key.value}-destroyed" if key in DOMAIN_MASTERS else "keys.destroyed"
    console.say(code, key=key.value, check_value=value, path=path)
    console.result({"key": key.value, "destroyed": value, "record": str(path)})


def said_of(key: KeyName) -> str:
    """The text that tells what a rotation has done."""
    if key is KeyName.AUTHORITY:
        return "keys.authority-rotated"
    if key in LASTING_PAIRS:
        return "keys.lasting-pair-rotated"
    if key in SAM_KEYS:
        return "keys.sam-key-rotated"
    if key in CARD_MASTERS:
        return f"keys.{key.value}-rotated"
    if KeyUse.WRAP in KEY_USES[key]:
        return "keys.wrapping-rotated"
    return "keys.pair-rotated" if key in KEY_PAIRS else "keys.rotated"


def require_no_production(job: Job, key: KeyName, *, destroyed: bool = False) -> None:
    """Refuse to change a master of cards while a batch runs, or cards are begun that would need the one before.

    A card that is begun under a former master of the domain is finished with the one in use; it needs both.

    Raises:
        PersonalizationError: "batch-at-work", exit 2.
    """
    from personalization.production.journal.batches import batches_at_work

    concerned = DOMAIN_MASTERS if destroyed else CARD_MASTERS
    begun = destroyed or key not in DOMAIN_MASTERS
    if key in concerned and (at_work := batches_at_work(job.journal, begun=begun)):
        raise PersonalizationError("batch-at-work", exit_code=2, batch=at_work[0])


def conceal_anew(place: Centre, key: KeyName, approval: Approval | None) -> None:
    """Replace concealment before a role master is; nothing for any other key. See `ROLE_MASTERS`."""
    from permitcard.job import Job
    from permitcard.key_trail import announce

    if key in ROLE_MASTERS:
        with Job.open(place) as job:
            before = announce(job, KeyAct(KeyChange.ROTATE, KeyName.CONCEALMENT))
            job.keys.close()
        if before is None:
            before = administration(place).replace(KeyName.CONCEALMENT).before.hex().upper()
        with Job.open(place) as job:
            facts = {"before": before, "after": job.keys.check_value(KeyName.CONCEALMENT).hex().upper()}
            job.changed_key(KeyName.CONCEALMENT, "rotated", {**facts, "with": key.value}, approval)


def administration(place: Centre) -> KeyAdministration:
    """What changes keys of a centre's store."""
    if not place.hsm.exists():
        from personalization.keys.administration import FileKeyAdministration

        return FileKeyAdministration(place.keys, place.passphrase_source())
    from permitcard.centre import OFFICER_PIN_VARIABLE, PIN_VARIABLE
    from personalization.keys.hsm.administration import HsmKeyAdministration
    from personalization.keys.hsm.making import Maker

    officer = place.pin_source(OFFICER_PIN_VARIABLE)
    return HsmKeyAdministration(Maker(place.token(), place.pin_source(PIN_VARIABLE), officer))


def _read_wrapped(file: Path) -> tuple[KeyAct, bytes, str]:
    try:
        document = json.loads(file.read_bytes())
        act = KeyAct.parse(f"{KeyChange.IMPORT}/{document['key']}/{document['check_value']}")
        kind, wrapped, under = document["kind"], bytes.fromhex(document["wrapped"]), str(document["under"])
    except OSError as error:
        raise unread(error, file, PersonalizationError("document-missing", exit_code=2, file=str(file))) from None
    except (PersonalizationError, ValueError, KeyError, TypeError, RecursionError):
        raise PersonalizationError("document-malformed", exit_code=2, place=str(file)) from None
    if kind != WRAPPED_KIND:
        raise PersonalizationError("document-malformed", exit_code=2, place=str(file))
    return act, wrapped, under
