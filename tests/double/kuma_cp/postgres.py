# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps what a control plane stores in a real Postgres: read when it starts, written soon after every change."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

from .store import Resource, Store

VERSION = 1
TLS_MODES = {"disable": "disable", "verifyNone": "require", "verifyCa": "verify-ca", "verifyFull": "verify-full"}


class Postgres:
    """The database that a configuration names. Errors are RuntimeError."""

    def __init__(self, get: Callable[..., Any]) -> None:
        self.options = {
            "host": get("store.postgres.host", "127.0.0.1"),
            "port": get("store.postgres.port", 15432),
            "user": get("store.postgres.user", "kuma"),
            "password": get("store.postgres.password", "kuma"),
            "dbname": get("store.postgres.dbName", "kuma"),
            "sslmode": TLS_MODES[get("store.postgres.tls.mode", "disable")],
            "connect_timeout": 5,
        }
        if get("store.postgres.tls.caPath"):
            self.options["sslrootcert"] = get("store.postgres.tls.caPath")

    @contextlib.contextmanager
    def _cursor(self) -> Iterator[Any]:
        import psycopg2  # only where there is a database

        try:
            connection = psycopg2.connect(**self.options)
            try:
                with connection, connection.cursor() as cursor:
                    yield cursor
            finally:
                connection.close()
        except psycopg2.Error as error:
            raise RuntimeError(f"postgres: {error}") from error

    def migrate(self) -> bool:
        """Brings the schema to this version; whether there was anything to do."""
        with self._cursor() as cursor:
            cursor.execute("CREATE TABLE IF NOT EXISTS schema_migrations (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL)")
            cursor.execute("SELECT version FROM schema_migrations")
            if cursor.fetchone() == (VERSION,):
                return False
            cursor.execute(
                "CREATE TABLE resources (type text, mesh text, name text, spec text, labels text, PRIMARY KEY (type, mesh, name))"
            )
            cursor.execute("INSERT INTO schema_migrations VALUES (%s, false)", (VERSION,))
            return True

    def load(self, store: Store) -> None:
        """Put what is kept in the place of what is in `store`, unless nothing is kept yet."""
        with self._cursor() as cursor:
            cursor.execute("SELECT to_regclass('schema_migrations')")
            if cursor.fetchone() == (None,):
                raise RuntimeError('database is not migrated. Run "kuma-cp migrate up" to update database to the newest schema')
            cursor.execute("SELECT type, mesh, name, spec, labels FROM resources")
            rows = [row for row in cursor.fetchall() if row[0] in store.kinds]
        if not rows:
            return
        for table in store.tables.values():
            for key in list(table.rows):
                table.remove(key)
        for kind, mesh, name, spec, labels in rows:
            store.tables[kind].add(Resource(store.kinds[kind], mesh, name, json.loads(spec), json.loads(labels)))

    def save(self, store: Store) -> None:
        rows = [
            (name, resource.mesh, resource.name, json.dumps(resource.spec), json.dumps(resource.labels))
            for name, table in store.tables.items()
            for resource in table.rows.values()
        ]
        with self._cursor() as cursor:
            cursor.execute("DELETE FROM resources")
            cursor.executemany("INSERT INTO resources VALUES (%s, %s, %s, %s, %s)", rows)
