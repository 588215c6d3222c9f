"""The policies that there are, and which of them holds for an area on a day."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterable
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from personalization.errors import PersonalizationError
from personalization.permit.policy.model import PROVINCE, Policy
from personalization.permit.policy.review import Finding, review

_SUFFIX: Final = ".toml"


class PolicyLibrary:
    """Policies by name.

    Args:
        policies: all of them, the province's among them.

    Raises:
        PersonalizationError: "policies-faulty" (exit 1), the review found something.
    """

    def __init__(self, policies: Iterable[Policy]) -> None:
        self.policies = tuple(policies)
        findings = review(self.policies)
        if findings:
            raise PersonalizationError("policies-faulty", findings="; ".join(map(str, findings)))

    def named(self, name: str) -> Policy:
        """The policy of that name, a draft too.

        Raises:
            PersonalizationError: "policy-unknown" (exit 2).
        """
        for policy in self.policies:
            if policy.name == name:
                return policy
        names = ", ".join(policy.name for policy in self.policies)
        raise PersonalizationError("policy-unknown", exit_code=2, name=name, known=names)

    def for_area(self, area: str, day: date) -> Policy:
        """The policy that holds for ``area`` on ``day``: its own, else the province's; never a draft.

        Raises:
            PersonalizationError: "policy-none" (exit 1), none holds yet.
        """
        for code in (area, PROVINCE):
            for policy in self.policies:
                if not policy.draft and code in policy.areas and policy.holds_on(day):
                    return policy
        raise PersonalizationError("policy-none", area=area, day=day)

    def complete(self, policy: Policy, day: date) -> Policy:
        """The policy with the province's endorsement and deadlines where it has none of its own."""
        province = self.for_area(PROVINCE, day)
        return policy.model_copy(
            update={
                "endorsement": policy.endorsement or province.endorsement,
                "issue": policy.issue or province.issue,
                "changes": policy.changes or province.changes,
            }
        )


def read_policy(path: Path) -> Policy:
    """Read a policy file; a new city is a new file.

    Raises:
        PersonalizationError: "policy-unreadable" (exit 2), "policy-invalid" (exit 1) with the places that are wrong.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PersonalizationError("policy-unreadable", exit_code=2, path=path) from error
    return _parse(text, path.name)


@functools.cache
def policies() -> PolicyLibrary:
    """The policies that come with the product."""
    folder = resources.files("personalization.permit.policy")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(_SUFFIX))
    return PolicyLibrary(_parse(folder.joinpath(name).read_text("utf-8"), name) for name in names)


def policies_with(folder: Path) -> PolicyLibrary:
    """The product's policies, and those in ``folder``, which replace ours of the same name.

    Raises:
        PersonalizationError: "policies-missing" (exit 2), there is none: whoever named it would be judged by others;
            as `read_policy`.
    """
    own = [read_policy(path) for path in sorted(folder.glob("*" + _SUFFIX))]
    if not own:
        raise PersonalizationError("policies-missing", exit_code=2, path=folder)
    names = {policy.name for policy in own}
    return PolicyLibrary([*own, *(policy for policy in policies().policies if policy.name not in names)])


def _parse(text: str, name: str) -> Policy:
    try:
        return Policy.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise PersonalizationError("policy-invalid", path=name, places=str(error)) from error
    except ValidationError as error:
        places = "; ".join(f"{'.'.join(map(str, item['loc'])) or 'file'}: {item['msg']}" for item in error.errors())
        raise PersonalizationError("policy-invalid", path=name, places=places) from error


__all__ = ["Finding", "PolicyLibrary", "policies", "policies_with", "read_policy"]
