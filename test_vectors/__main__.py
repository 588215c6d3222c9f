"""Check every vector file against its schema and the rules of the house.

A file needs a unique identifier for each test, at least as many invalid as valid tests (or ``no_negatives`` with a
reason), flags that say what is wrong with each invalid one and with no valid one, and a line in `SOURCES.md`.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator

from test_vectors import SCHEMA, paths, read, root


def findings(document: Mapping[str, Any], validator: Draft202012Validator) -> Iterator[str]:
    """What is wrong with one vector file, in words; nothing when it is in order."""
    errors = list(validator.iter_errors(document))
    for error in errors:
        yield f"{'/'.join(str(step) for step in error.absolute_path) or 'document'}: {error.message}"
    if errors:
        return
    for identifier, count in Counter(test["id"] for test in document["tests"]).items():
        if count > 1:
            yield f"identifier {identifier} stands {count} times"
    for test in document["tests"]:
        if (test["result"] == "invalid") != bool(test.get("flags")):
            yield f"{test['id']}: flags say what is wrong with an invalid test (SOURCES.md), and stand with no other"
    results = Counter(test["result"] for test in document["tests"])
    if results["invalid"] < results["valid"] and "no_negatives" not in document:
        yield f"{results['invalid']} invalid tests for {results['valid']} valid ones, and no reason in no_negatives"


def main() -> int:
    """Print the findings of all files; 0 when there are none, 1 otherwise."""
    schema = read(SCHEMA)
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    sources = root().joinpath("SOURCES.md").read_text(encoding="utf-8")
    failures = 0
    for path in paths():
        problems = list(findings(read(path), validator))
        if f"`{path}`" not in sources:
            problems.append("SOURCES.md does not say where it comes from")
        for problem in problems:
            sys.stderr.write(f"test_vectors/{path}: {problem}\n")
        failures += len(problems)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
