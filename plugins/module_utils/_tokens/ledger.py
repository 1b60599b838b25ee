# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""The ledger of tokens that were issued: which, for whom, until when, to which host; never a token. A file of JSON lines on the controller.

It only grows, by one write at a time behind a lock. A line that is cut off, for the machine lost power or its disk was full, is passed over.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import stat
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens.renewal import number

DATAPLANE, ZONE = "dataplane", "zone"

_MODE = 0o600


class LedgerFailed(Exception):
    """The ledger cannot be read or written."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(
            f"kuma_dp_token_ledger (ledger) is {path}, which cannot be used: {reason}, expected a file on the controller that can be "
            "written. Correct it, or leave it empty to keep no ledger"
        )


class Entry(t.NamedTuple):
    """One token. ``mesh`` is empty for one of a zone, whose ``name`` is that of the proxy; times are epoch seconds, ``end`` may be unknown (0).

    ``kid`` is the key that signed it.
    """

    jti: str
    sort: str
    name: str
    mesh: str
    end: int
    host: str
    time: int
    kid: str = ""


def entry(claims: t.Mapping[str, t.Any], name: str, mesh: str, host: str, now: float, kid: str) -> Entry:
    """The line of a token with these claims."""
    sort = ZONE if "Scope" in claims else DATAPLANE
    return Entry(str(claims.get("jti") or ""), sort, name, mesh, _seconds(claims.get("exp")), host, int(now), kid)


class Ledger:
    """``path`` is a file, which is made when something is written. Entries are in the order in which they were written."""

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(os.path.expanduser(path))

    def prepare(self) -> None:
        """Have the file, as far as it is not there. Raises LedgerFailed where nothing could be written to it."""
        with self._opened(os.O_RDWR | os.O_APPEND | os.O_CREAT):
            pass

    def append(self, entries: t.Sequence[Entry]) -> None:
        """Write all of these, or none, onto the disk. Raises LedgerFailed."""
        if not entries:
            return
        data = "".join(json.dumps(one._asdict(), sort_keys=True) + "\n" for one in entries).encode()
        with self._opened(os.O_RDWR | os.O_APPEND | os.O_CREAT) as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            before = os.fstat(descriptor).st_size
            # A line that was cut off is ended, or the next one would be lost with it.
            torn = before > 0 and os.pread(descriptor, 1, before - 1) != b"\n"
            try:
                _write(descriptor, b"\n" + data if torn else data)
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, before)
                raise

    def read(self) -> t.List[Entry]:
        """All entries; none where there is no file yet. Raises LedgerFailed."""
        try:
            with self._opened(os.O_RDONLY) as descriptor, open(descriptor, "rb", closefd=False) as handle:
                fcntl.flock(descriptor, fcntl.LOCK_SH)
                lines = handle.read().splitlines()
        except FileNotFoundError:
            return []
        return [found for found in map(parse, lines) if found is not None]

    @contextlib.contextmanager
    def _opened(self, flags: int) -> t.Iterator[int]:
        descriptor = None
        try:
            if flags & os.O_CREAT:
                os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)
            # Without O_NONBLOCK a fifo would be waited for.
            descriptor = os.open(self.path, flags | os.O_CLOEXEC | os.O_NONBLOCK, _MODE)
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "it is no regular file")
            if stat.S_IMODE(status.st_mode) != _MODE and status.st_uid == os.geteuid():
                os.fchmod(descriptor, _MODE)
            yield descriptor
        except OSError as error:
            if isinstance(error, FileNotFoundError) and not flags & os.O_CREAT:
                raise
            raise LedgerFailed(self.path, str(error.strerror or error)) from error
        finally:
            if descriptor is not None:
                os.close(descriptor)


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def parse(line: bytes) -> t.Optional[Entry]:
    """The entry of a line; None for what is none, such as one that was cut off."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not isinstance(found.get("jti"), str) or not found["jti"]:
        return None
    text = {key: str(found.get(key) or "") for key in ("sort", "name", "mesh", "host", "kid")}
    end, time = (_seconds(found.get(key)) for key in ("end", "time"))
    return Entry(found["jti"], text["sort"] or DATAPLANE, text["name"], text["mesh"], end, text["host"], time, text["kid"])


def _seconds(value: t.Any) -> int:
    seconds = number(value)
    return int(seconds) if seconds is not None else 0
