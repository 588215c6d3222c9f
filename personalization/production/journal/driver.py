"""Statements about very many rows go to the driver as they are.

SQLAlchemy looks at each value of each row, which takes longer than the database needs for the row. Here the values have
to be what both drivers take: numbers, text, bytes, None.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

from sqlalchemy import Connection

_PLACEHOLDER: Final = {"qmark": "?", "pyformat": "%s"}
"""How a driver writes a value that comes with the statement, by its parameter style (PEP 249)."""


def insert_many(connection: Connection, table: str, columns: Sequence[str], rows: list[tuple[object, ...]]) -> None:
    """Insert rows.

    Args:
        connection: in a transaction.
        table: name.
        columns: names.
        rows: values of each row in the order of ``columns``.
    """
    places = _places(connection, len(columns))
    connection.exec_driver_sql(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})", rows)  # noqa: S608


def select_among(
    connection: Connection, table: str, columns: Sequence[str], column: str, values: Collection[bytes]
) -> Sequence[Any]:
    """The rows in which a column has one of some values.

    Args:
        connection: that reads.
        table: name.
        columns: names of what is wanted of a row.
        column: name of the one that is looked at.
        values: some hundreds.
    """
    places = _places(connection, len(values))
    question = f"SELECT {', '.join(columns)} FROM {table} WHERE {column} IN ({places})"  # noqa: S608
    return connection.exec_driver_sql(question, tuple(values)).fetchall()


def _places(connection: Connection, count: int) -> str:
    return ", ".join([_PLACEHOLDER[connection.dialect.paramstyle]] * count)
