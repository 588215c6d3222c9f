"""Statements about very many rows go to the driver as they are.

SQLAlchemy looks at each value of each row, which takes longer than the database needs for the row. Here the values have
to be what both drivers take: numbers, text, bytes, None.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

_PLACEHOLDER: Final = {"qmark": "?", "pyformat": "%s"}
"""How a driver writes a value that comes with the statement, by its parameter style (PEP 249)."""

_ROWS_A_STATEMENT: Final = 200
"""To begin a statement costs a row's worth; more rows gain little, and old SQLite takes 999 values at most."""


def insert_many(
    connection: Connection,
    table: str,
    shared: Mapping[str, object],
    columns: Sequence[str],
    rows: Iterable[tuple[object, ...]],
) -> int:
    """Insert rows as they come; returns how many there were.

    Args:
        connection: in a transaction.
        table: name.
        shared: columns in which all rows have one value.
        columns: names of the others.
        rows: values of each row in the order of ``columns``.
    """
    into = f"{table} ({', '.join([*shared, *columns])})"
    values = tuple(shared.values())
    if connection.dialect.name == "postgresql":
        return _copy(connection, f"COPY {into} FROM STDIN", (values + row for row in rows))
    same, row = _places(connection, len(shared)), f"({_places(connection, len(columns))})"
    count, waiting = 0, iter(rows)
    while some := list(itertools.islice(waiting, _ROWS_A_STATEMENT)):
        source = f"SELECT {same}, given.* FROM (VALUES {', '.join([row] * len(some))}) AS given"  # noqa: S608
        connection.exec_driver_sql(f"INSERT INTO {into} {source}", (*values, *itertools.chain.from_iterable(some)))
        count += len(some)
    return count


def _copy(connection: Connection, statement: str, rows: Iterable[tuple[object, ...]]) -> int:
    """Have a PostgreSQL server take rows in as a stream; SQLAlchemy does not know that statement."""
    session: Any = connection.connection.driver_connection
    errors = connection.dialect.loaded_dbapi.Error
    count = 0
    try:
        with session.cursor() as cursor, cursor.copy(statement) as stream:
            for count, row in enumerate(rows, 1):  # noqa: B007
                stream.write_row(row)
    except errors as error:
        gone = connection.dialect.is_disconnect(error, session, None)
        if gone:
            connection.invalidate(error)
        raise DBAPIError.instance(
            statement,
            None,
            error,
            errors,
            hide_parameters=True,
            connection_invalidated=gone,
            dialect=connection.dialect,
        ) from error
    return count


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
