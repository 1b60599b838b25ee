# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What the workers of a controller share about a roll: files in one directory per run, changed under one lock.

``head.json`` is what decisions need, a few kilobytes however many hosts there are. ``hosts/`` holds the records of the hosts in 256 files,
so that a change of one host costs the same in a fleet of ten thousand. ``overview.json`` is the last view of the control plane. The whole
journal, ``journal.json``, is put together from these when a run begins and ends. Everything is replaced atomically.

A worker that waits holds a lock on a file of its own. The kernel drops it with the process, so nobody waits for a dead worker.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import socket
import tempfile
import typing as t

Json = t.Dict[str, t.Any]
Records = t.Dict[str, Json]

HEAD, OVERVIEW, JOURNAL, SERVICES, COVERS = "head.json", "overview.json", "journal.json", "services.jsonl", "covers.json"
RUNNING, DONE, FAILED, ABORTED = "running", "done", "failed", "aborted"


class NoRun(Exception):
    """There is no such run; the message says where it was looked for and what to do."""


def default_dir() -> str:
    """Where the runs of a user are kept, by mesh."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(cache, "meshfleet.kuma", "rolls")


def write_json(path: str, value: t.Any) -> None:
    """:func:`write_text` for JSON."""
    write_text(path, json.dumps(value, separators=(",", ":")))


def write_text(path: str, text: str) -> None:
    """Replace ``path`` atomically; after a loss of power it is the old or the new one."""
    directory = os.path.dirname(path)
    handle, temporary = tempfile.mkstemp(dir=directory, prefix=".new-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_json(path: str) -> t.Any:
    """The content of ``path``, None when there is no such file."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (FileNotFoundError, NotADirectoryError):
        return None


class Journal:
    """The files of one run."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.run = os.path.basename(path)

    @classmethod
    def create(cls, base: str, run: str, head: Json, records: Records) -> Journal:
        """A new run in the directory ``base``, which is made when it is missing."""
        path = os.path.join(base, run)
        os.makedirs(base, mode=0o700, exist_ok=True)
        os.mkdir(path, 0o700)
        for name in ("hosts", "waiting"):
            os.mkdir(os.path.join(path, name), 0o700)
        journal = cls(path)
        journal.save_records(records)
        # Last, for a directory without it is no run.
        journal.save_head(head)
        return journal

    # -- the lock

    @contextlib.contextmanager
    def locked(self) -> t.Iterator[None]:
        """One process at a time. Never to be held during a request to the control plane."""
        with self._flock("lock", fcntl.LOCK_EX):
            yield

    def refreshing(self) -> t.ContextManager[bool]:
        """Whether this process may ask the control plane now; False while another one does."""
        return self._alone("overview.lock")

    def retiring(self) -> t.ContextManager[bool]:
        """Whether this process may look through the tokens of covers now; False while another one does."""
        return self._alone("covers.lock")

    @contextlib.contextmanager
    def _alone(self, name: str) -> t.Iterator[bool]:
        try:
            with self._flock(name, fcntl.LOCK_EX | fcntl.LOCK_NB):
                yield True
        except BlockingIOError:
            yield False

    @contextlib.contextmanager
    def waits(self, host: str) -> t.Iterator[None]:
        """While ``host`` waits in this process."""
        with self._flock(self._waiting(host), fcntl.LOCK_EX):
            yield

    def still_waits(self, host: str) -> bool:
        """Whether the process in which ``host`` waits still lives."""
        try:
            with self._flock(self._waiting(host), fcntl.LOCK_EX | fcntl.LOCK_NB):
                return False
        except BlockingIOError:
            return True

    @contextlib.contextmanager
    def _flock(self, name: str, how: int) -> t.Iterator[None]:
        handle = os.open(os.path.join(self.path, name), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, how)
            yield
        finally:
            os.close(handle)

    def _waiting(self, host: str) -> str:
        return os.path.join("waiting", _digest(host))

    # -- what is kept

    def head(self) -> Json:
        found = read_json(os.path.join(self.path, HEAD))
        if not isinstance(found, dict):
            raise NoRun(f"{self.path} holds no run: it was removed, or was never begun")
        return found

    def save_head(self, head: Json) -> None:
        write_json(os.path.join(self.path, HEAD), head)

    def seen(self) -> float:
        """When the run was last written to, in epoch seconds."""
        return os.stat(os.path.join(self.path, HEAD)).st_mtime

    def record(self, host: str) -> t.Optional[Json]:
        return (read_json(self._bucket(host)) or {}).get(host)

    def save_record(self, host: str, record: Json) -> None:
        bucket = self._bucket(host)
        write_json(bucket, dict(read_json(bucket) or {}, **{host: record}))

    def save_records(self, records: Records) -> None:
        buckets: t.Dict[str, Records] = {}
        for host, record in records.items():
            buckets.setdefault(self._bucket(host), {})[host] = record
        for path, content in buckets.items():
            write_json(path, dict(read_json(path) or {}, **content))

    def records(self) -> Records:
        """All hosts of the run, in the order of the plan."""
        found: Records = {}
        directory = os.path.join(self.path, "hosts")
        for name in sorted(os.listdir(directory)):
            if name.endswith(".json"):
                found.update(read_json(os.path.join(directory, name)) or {})
        return dict(sorted(found.items(), key=lambda entry: (entry[1].get("order", -1) < 0, entry[1].get("order", -1), entry[0])))

    def _bucket(self, host: str) -> str:
        return os.path.join(self.path, "hosts", _digest(host)[:2] + ".json")

    def overview(self) -> t.Optional[Json]:
        return t.cast(t.Optional[Json], read_json(os.path.join(self.path, OVERVIEW)))

    def save_overview(self, kept: Json) -> None:
        write_json(os.path.join(self.path, OVERVIEW), kept)

    def covers(self) -> Json:
        """``{swept, tokens: {jti: token}}``: what is known of the tokens of covers, and when they were last looked through."""
        return t.cast(Json, read_json(os.path.join(self.path, COVERS)) or {"swept": 0.0, "tokens": {}})

    def save_covers(self, kept: Json) -> None:
        write_json(os.path.join(self.path, COVERS), kept)

    def note_services(self, lines: t.Sequence[Json]) -> None:
        """Append ``{service, at, total, serving, in_flight}`` to the history."""
        if lines:
            with open(os.path.join(self.path, SERVICES), "a", encoding="utf-8") as file:
                file.write("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))

    def services(self) -> t.Dict[str, t.List[Json]]:
        found: t.Dict[str, t.List[Json]] = {}
        try:
            with open(os.path.join(self.path, SERVICES), encoding="utf-8") as file:
                for line in file:
                    # A controller that was killed may have written half a line.
                    with contextlib.suppress(ValueError):
                        entry = json.loads(line)
                        found.setdefault(entry.pop("service"), []).append(entry)
        except FileNotFoundError:
            pass
        return found

    def whole(self) -> Json:
        """The journal as one document, the input of the report."""
        head = self.head()
        kept = ("run", "epoch", "mesh", "control_plane", "kind", "owner", "started", "finished", "status", "abort", "settings")
        return {**{key: head[key] for key in kept}, "hosts": self.records(), "services": self.services()}

    def write_whole(self) -> str:
        """Write the journal as one document; returns its path."""
        path = os.path.join(self.path, JOURNAL)
        write_json(path, self.whole())
        return path


def _digest(host: str) -> str:
    return hashlib.sha256(host.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def find(run_dir: str, run: str) -> Journal:
    """The run of this id, of whatever mesh. Raises NoRun."""
    if run and os.path.basename(run) == run and os.path.isdir(run_dir):
        for mesh in sorted(os.listdir(run_dir)):
            path = os.path.join(run_dir, mesh, run)
            if os.path.isfile(os.path.join(path, HEAD)):
                return Journal(path)
    raise NoRun(f"there is no run {run!r} in {run_dir}: give the run that state=start returned, and the run_dir that it was given")


def unfinished(base: str, control_plane: str) -> t.List[Journal]:
    """The runs in ``base`` against this control plane that have not ended, the newest first."""
    return [Journal(os.path.join(base, name)) for name, head in _heads(base, control_plane) if head.get("status") == RUNNING]


def ended(base: str, control_plane: str) -> t.Set[str]:
    """The ids of the runs in ``base`` against this control plane that have ended: a lock of theirs was left behind."""
    return {name for name, head in _heads(base, control_plane) if head.get("status") != RUNNING}


def _heads(base: str, control_plane: str) -> t.Iterator[t.Tuple[str, Json]]:
    for name in sorted(os.listdir(base), reverse=True) if os.path.isdir(base) else []:
        head = read_json(os.path.join(base, name, HEAD))
        if isinstance(head, dict) and head.get("control_plane") == control_plane:
            yield name, head


# -- whose run it is


def identity(pid: int) -> Json:
    """A process that can be told from a later one with the same number."""
    return {"pid": pid, "began": _began(pid), "host": socket.gethostname(), "boot": _boot()}


def lives(process: t.Mapping[str, t.Any]) -> t.Optional[bool]:
    """Whether a process of :func:`identity` still runs; None when it ran on another machine."""
    if process.get("host") != socket.gethostname():
        return None
    if process.get("boot") != _boot() or not _exists(int(process["pid"])):
        return False
    return not process.get("began") or process["began"] == _began(int(process["pid"]))


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError as error:
        return error.errno == errno.EPERM
    return True


def _began(pid: int) -> str:
    """The start time of a process in clock ticks since boot; empty where there is no /proc, or for a process that has ended."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return ""
    # A zombie has ended, though its parent has not looked yet.
    return "" if fields[0] in "ZX" else fields[19]


def _boot() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return ""
