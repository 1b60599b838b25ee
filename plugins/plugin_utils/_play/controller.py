# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""A file of the controller that an option names: found where relative paths count from, or text in its place, or fetched, or written."""

from __future__ import annotations

import hashlib
import os
import tempfile
import typing as t

from ansible.module_utils.urls import open_url

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.redact import redact, without_user
from ansible_collections.meshfleet.kuma.plugins.module_utils._join.archive import is_url

Json = t.Dict[str, t.Any]

_PEM = "-----BEGIN "
_BLOCK = 1 << 20
_SECONDS = 60


class Missing(Exception):
    """There is no such file, or none that can be read; the text says what was looked for and where."""


def search_dirs(variables: t.Mapping[str, t.Any]) -> t.List[str]:
    """Relative paths count from the playbook, the inventory and the current directory of the controller, in this order."""
    found = [variables.get("playbook_dir"), variables.get("inventory_dir"), os.environ.get("PWD") or os.getcwd()]
    return list(dict.fromkeys(str(path) for path in found if path))


def find(path: str, directories: t.Sequence[str]) -> t.Optional[str]:
    """Where the file is; None when it is nowhere."""
    expanded = os.path.expanduser(path)
    for directory in directories:
        full = os.path.join(directory, expanded)
        if os.path.isfile(full):
            return full
    return None


def pem_text(value: str, variable: str, directories: t.Sequence[str]) -> str:
    """What an option holds that takes PEM text or a file on the controller. Raises Missing."""
    if not value or _PEM in value:
        return value
    path = _found(value, variable, directories)
    try:
        with open(path, encoding="utf-8") as handle:
            return handle.read()
    except UnicodeDecodeError:
        raise Missing(
            f"{variable} is {path}, which is no text, expected PEM text: openssl x509 -inform DER makes it of a certificate in DER form"
        ) from None
    except OSError as error:
        raise Missing(f"{variable} is {path}, which cannot be read: {error.strerror or error}") from None


def pem_texts(values: t.Mapping[str, str], directories: t.Sequence[str]) -> t.Tuple[t.Dict[str, str], t.Dict[str, str]]:
    """``(texts, missing)`` of several such options by their names: what they hold, and the names of files that are not there, or no text."""
    found = {name: _held(value, directories) for name, value in values.items()}
    texts = {name: text for name, text in found.items() if text is not None}
    return texts, {name: values[name] for name in found if name not in texts}


def pem_path(value: str, variable: str, directories: t.Sequence[str], cache: str) -> t.Optional[str]:
    """A file with what such an option holds, for those who take nothing else; None without one. Raises Missing.

    Text goes into a file of ``cache`` that is named after it.
    """
    if not value:
        return None
    if _PEM not in value:
        return _found(value, variable, directories)
    path = os.path.join(os.path.expanduser(cache), f"ca-{hashlib.sha256(value.encode()).hexdigest()[:16]}.pem")
    text = value.strip() + "\n"
    if not (os.path.isfile(path) and _read(path) == text):
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        _replace(path, [text.encode()])
    return path


def private_path(value: str, variable: str, directories: t.Sequence[str], private: str) -> t.Optional[str]:
    """The same for what may hold a key: its text goes into a file of ``private``, the directory of one run, that its owner alone may read."""
    if not value:
        return None
    if _PEM not in value:
        # A key without its first line is taken for the name of a file.
        return _found(value, variable, directories, instead="(not shown)")
    path = os.path.join(private, f"meshfleet.kuma-{hashlib.sha256(value.encode()).hexdigest()[:16]}.pem")
    if not os.path.isfile(path):
        _replace(path, [value.strip().encode() + b"\n"], mode=0o600)
    return path


def archive_source(value: str, version: str, architecture: str, directories: t.Sequence[str]) -> str:
    """An archive with its placeholders filled in: a URL, or the file on the controller that it is."""
    name = value.replace("{version}", version).replace("{arch}", architecture)
    if is_url(name):
        return name
    return find(name, directories) or os.path.expanduser(name)


def fetch(wanted: t.Sequence[t.Mapping[str, str]], role: str, users: t.Optional[t.Mapping[str, str]] = None) -> t.List[str]:
    """Fetch ``[{url, path, checksum}]``, each to its path. Returns a sentence for each that could not be.

    What came is there under its name only when it has the checksum. ``users`` are the URLs with the user that is left out of results.
    """
    return [
        f"{role}_archive {without_user(item['url'])} {redact(fault)}"
        for item in wanted
        for fault in _fetched({**item, "url": (users or {}).get(item["url"], item["url"])}, role)
    ]


def writable(path: str, variable: str) -> str:
    """Where a file is to be written that an option names. Raises Missing when it cannot be there."""
    full = os.path.realpath(os.path.expanduser(path))
    if not os.path.isdir(os.path.dirname(full)) or (os.path.exists(full) and not os.path.isfile(full)):
        raise Missing(f"{variable} is {path}, expected a file on the controller, in a directory that exists")
    return full


def write(path: str, text: str, check: bool) -> t.Dict[str, str]:
    """Have a file with this text, at once; with ``check`` nothing is written. Returns what differs in the shape of a diff, or nothing."""
    before = _read(path) if os.path.isfile(path) else ""
    if before == text:
        return {}
    if not check:
        _replace(path, [text.encode()])
    return {"before_header": path, "after_header": path, "before": before, "after": text}


def _fetched(item: t.Mapping[str, str], role: str) -> t.Iterator[str]:
    """Nothing, or what went wrong."""
    try:
        os.makedirs(os.path.dirname(item["path"]), mode=0o755, exist_ok=True)
        with open_url(item["url"], timeout=_SECONDS, http_agent="meshfleet.kuma") as answer:
            found = _replace(item["path"], iter(lambda: answer.read(_BLOCK), b""), item["checksum"].rpartition(":")[2])
        reason = f"its SHA-256 is {found}" if found else ""
    # urllib raises what it likes, and this is about one file of several.
    except Exception as error:
        reason = str(error)
    if reason:
        yield (
            f"could not be fetched: {reason}, expected an archive with the SHA-256 of {role}_archive_checksum. "
            f"Correct either after checking where it came from, or put the file to {item['path']}"
        )


def _held(value: str, directories: t.Sequence[str]) -> t.Optional[str]:
    try:
        return pem_text(value, "", directories)
    except Missing:
        return None


def shown(path: str) -> str:
    """The name of a file in a message; what cannot be one may be what the file was to hold."""
    return redact(path) if naming.is_place(path) else "(not shown)"


def _found(value: str, variable: str, directories: t.Sequence[str], instead: str = "") -> str:
    path = find(value, directories)
    if path is None:
        told = instead or shown(value if len(value) <= 60 else value[:57] + "...")
        raise Missing(
            f"{variable} is {told}, expected PEM text, or a file on the controller that exists; "
            f"relative paths count from {', '.join(directories)}"
        )
    return path


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as handle:
        return handle.read()


def _replace(path: str, blocks: t.Iterable[bytes], checksum: t.Optional[str] = None, mode: int = 0o644) -> t.Optional[str]:
    """Write a file at once. With a ``checksum`` that it has not got, nothing is there and its own is returned."""
    digest = hashlib.sha256()
    descriptor, part = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".part-")
    try:
        with os.fdopen(descriptor, "wb") as handle:
            for block in blocks:
                digest.update(block)
                handle.write(block)
        if checksum is not None and digest.hexdigest() != checksum:
            return digest.hexdigest()
        os.chmod(part, mode)
        os.replace(part, path)
    finally:
        if os.path.exists(part):
            os.unlink(part)
    return None
