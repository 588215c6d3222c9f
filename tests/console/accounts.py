"""Several system accounts of this machine at one command line, as the administrator alone can start them.

Commands run with the numbers of real accounts: what the operating system lets them do is what it lets people do.
"""

from __future__ import annotations

import contextlib
import functools
import grp
import os
import pwd
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections import defaultdict
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pytest

from tests.console.command_line import ROOT, CommandLine, Outcome, ready_interpreter
from tests.console.ready_interpreter import Person, ReadyInterpreter

_SECONDS: Final = 120
_LARGEST: Final = 65534
"""Number of nobody; services that a machine makes up as it goes are above."""


@dataclass(frozen=True, slots=True)
class Account:
    """An account at the command line.

    Attributes:
        name: at the operating system.
        person: its numbers and its umask.
        folder: where it works.
    """

    name: str
    person: Person
    folder: Path

    def masked(self, umask: int) -> Account:
        """The same account with another umask."""
        return replace(self, person=self.person._replace(umask=umask))

    def __call__(self, *arguments: str | Path, code: int = 0) -> Outcome:
        """Run a command to its end; it must end with ``code`` and never with a traceback."""
        words = [str(argument) for argument in arguments]
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            found = _interpreter().run(words, self.folder, self.environment(), (output, errors), _SECONDS, self.person)
            output.seek(0)
            errors.seek(0)
            out, err = output.read().decode(), errors.read().decode()
        assert "Traceback" not in out + err, err
        assert found == code, f"{self.name}: exit code {found}, not {code}\n{out[-2000:]}\n{err}"
        return Outcome(found, out, err)

    @contextlib.contextmanager
    def start(self, *arguments: str | Path) -> Generator[subprocess.Popen[bytes]]:
        """Start a command in a process group of its own; whatever of it still runs at the end is killed."""
        user, group, groups, umask = self.person
        process = subprocess.Popen(
            [_executable(), "-m", "permitcard", *map(str, arguments)],
            cwd=self.folder,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            user=user,
            group=group,
            extra_groups=groups,
            umask=umask,
        )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def environment(self) -> dict[str, str]:
        """Of its commands: nothing of the tester's own home."""
        return _environment() | {"HOME": str(self.folder), "TMPDIR": str(self.folder / "tmp")}

    def may(self, *words: str) -> bool:
        """Whether a program of the system does for this account what it is told; it says so by its exit code."""
        user, group, groups, _ = self.person
        done = subprocess.run(
            words, env=self.environment(), user=user, group=group, extra_groups=groups, capture_output=True, check=False
        )
        return done.returncode == 0


@dataclass(frozen=True, slots=True)
class Team:
    """Accounts of one group, and one outside.

    Attributes:
        group: its name.
        number: its number.
        members: three accounts whose group it is.
        guest: an account that has the group for this login only, as a temporary help would.
        outsider: an account that has not.
        folder: where all work; everybody may look into it.
    """

    group: str
    number: int
    members: tuple[Account, Account, Account]
    guest: Account
    outsider: Account
    folder: Path


@contextlib.contextmanager
def team() -> Generator[Team]:
    """A team in a new folder; the test is skipped where this machine cannot have one."""
    if sys.platform == "win32" or os.geteuid() != 0:
        pytest.skip("only the administrator can start processes of several accounts")
    by_group: dict[int, list[pwd.struct_passwd]] = defaultdict(list)
    for user in pwd.getpwall():
        if user.pw_uid and user.pw_gid and user.pw_uid <= _LARGEST:
            by_group[user.pw_gid].append(user)
    number, users = max(by_group.items(), key=lambda item: len(item[1]))
    name = grp.getgrgid(number).gr_name
    others = [user for user in pwd.getpwall() if user.pw_uid and user.pw_gid not in {0, number}]
    others = [user for user in others if user.pw_name not in grp.getgrgid(number).gr_mem]
    if len(users) < 3 or len(others) < 2:
        pytest.skip("this machine has no three accounts of one group, and two of others")
    folder = Path(tempfile.mkdtemp(prefix="permitcard-team-"))
    try:
        (folder / "tmp").mkdir()
        (folder / "tmp").chmod(0o1777)
        folder.chmod(0o755)
        os.chown(folder, users[0].pw_uid, users[0].pw_gid)

        def account(user: pwd.struct_passwd, *groups: int) -> Account:
            return Account(user.pw_name, Person(user.pw_uid, user.pw_gid, groups, 0o022), folder)

        li, wang, zhao = (account(user) for user in users[:3])
        found = Team(name, number, (li, wang, zhao), account(others[0], number), account(others[1]), folder)
        if not li.may(_executable(), "-c", "import sqlalchemy, permitcard.job"):
            pytest.skip("accounts of this machine cannot read the interpreter or the sources")
        yield found
    finally:
        shutil.rmtree(folder)


@functools.cache
def _executable() -> str:
    """An interpreter of this version that every account can run: its owner's home may be closed."""
    for candidate in (
        sys.executable,
        shutil.which(f"python3.{sys.version_info.minor}", path="/usr/local/bin:/usr/bin"),
    ):
        if candidate is None:
            continue
        try:
            subprocess.run([candidate, "-c", ""], user="nobody", extra_groups=[], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        return candidate
    pytest.skip("accounts of this machine cannot run a Python of this version")


@functools.cache
def _environment() -> dict[str, str]:
    found = CommandLine(ROOT).environment()
    return found | {"PYTHONPATH": os.pathsep.join((str(ROOT), sysconfig.get_path("purelib"))), "PATH": "/usr/bin:/bin"}


@functools.cache
def _interpreter() -> ReadyInterpreter:
    """That of all other commands too, where it is for everybody."""
    same = _executable() == sys.executable
    return ready_interpreter() if same else ReadyInterpreter(_environment(), _executable())
