# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What root does to files and servers of a VM goes through the two modules that expect anything there, or stands in a list with its reason."""

from __future__ import annotations

import ast

import pytest

from tests.unit.gate.sources import ROOT, Sources
from tests.unit.gate.test_rooms import ON_A_VM, package_of

HELPERS = ("module_utils/_vm/safely", "module_utils/_vm/asking")
# Where a module asks a server or looks at files by itself, it is one of these.
PROGRAMS = [str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("roles/*/files/*.py"))]
# What of these modules has nothing to do with files or servers.
HARMLESS = {
    "os": {
        "O_DIRECTORY", "SEEK_END", "SEEK_SET", "close", "confstr", "defpath", "environ", "fsencode", "fspath", "fstat", "fsync", "geteuid", "getpid",
        "getuid", "sysconf", "urandom",
    },
    "os.path": {"basename", "commonpath", "dirname", "join", "normpath", "split", "splitext", "abspath"},
    "socket": {"AF_INET", "AF_INET6", "AF_UNIX", "EAI_NONAME", "SOCK_DGRAM", "SOCK_STREAM", "gaierror", "timeout"},
    "http.client": {"HTTPException"},
    "ssl": {
        "CERT_NONE", "CERT_REQUIRED", "DER_cert_to_PEM_cert", "MemoryBIO", "PROTOCOL_TLS_CLIENT", "PROTOCOL_TLS_SERVER",
        "SSLCertVerificationError", "SSLContext", "SSLEOFError", "SSLError", "SSLObject", "SSLWantReadError", "VerifyFlags", "cert_time_to_seconds",
    },
    "gzip": {"BadGzipFile", "GzipFile"},
    "tarfile": {"TarError", "TarFile", "TarInfo", "open"},
}  # fmt: skip
WATCHED = {*HARMLESS, "glob", "io", "pathlib", "shutil", "tempfile", "urllib.request", "fcntl", "mmap"}
# Who touches something all the same, by file and function, and why that cannot be anybody else's.
KERNEL = "procfs is the kernel's"
OWN = "the directory is root's alone: it was made, or its owner and mode were set, before"
TIMED = "whoever calls it has a time limit, and another one for what comes back"
LOOK = "looks alone, at what a removal names; nothing of it is opened"
ALLOWED = {
    ("module_utils/_common/network", "ask", "socket.getaddrinfo"): TIMED,
    ("module_utils/_common/network", "dial", "socket.socket"): TIMED,
    ("module_utils/_control_plane/authority", "_configuration", "open"): OWN,
    ("module_utils/_control_plane/authority", "_place", "shutil.rmtree"): OWN,
    ("module_utils/_control_plane/authority", "_place", "tempfile.mkdtemp"): OWN,
    ("module_utils/_control_plane/authority", "_install", "os.chmod"): OWN,
    ("module_utils/_control_plane/authority", "_install", "os.rename"): OWN,
    ("module_utils/_control_plane/authority", "_key", "os.O_CREAT"): OWN,
    ("module_utils/_control_plane/authority", "_key", "os.O_EXCL"): OWN,
    ("module_utils/_control_plane/authority", "_key", "os.O_WRONLY"): OWN,
    ("module_utils/_control_plane/authority", "_key", "os.open"): OWN,
    ("module_utils/_control_plane/service", "open", "os.makedirs"): "/run/systemd is root's",
    ("module_utils/_restart/vm", "_migrate", "open"): KERNEL,
    ("module_utils/_transparent/vm", "locked", "os.makedirs"): "/run is root's",
    ("module_utils/_transparent/vm", "write", "os.makedirs"): "/run and /etc are root's",
    ("module_utils/_vm/host", "_read", "open"): KERNEL,
    ("module_utils/_vm/host", "_sockets", "os.listdir"): KERNEL,
    ("module_utils/_vm/host", "_sockets", "os.readlink"): KERNEL,
    ("module_utils/_vm/host", "default_address", "socket.socket"): "nothing is sent",
    ("module_utils/_vm/host", "pids", "os.listdir"): KERNEL,
    ("module_utils/_vm/host", "program", "os.readlink"): KERNEL,
    ("module_utils/_vm/release", "_check_space", "os.statvfs"): OWN,
    ("module_utils/_vm/release", "_opened", "open"): "whoever sent the archive may be root, and its checksum is known",
    ("module_utils/_vm/release", "inspect", "os.path.lexists"): "whoever sent the archive may be root, and its checksum is known",
    ("module_utils/_vm/release", "unpack", "tempfile.mkdtemp"): OWN,
    ("module_utils/_vm/removal", "_absent_problem", "os.path.realpath"): LOOK,
    ("module_utils/_vm/removal", "_entries", "os.listdir"): LOOK,
    ("module_utils/_vm/removal", "_has_mode", "os.lstat"): LOOK,
    ("module_utils/_vm/removal", "_is_unfinished", "os.path.realpath"): LOOK,
    ("module_utils/_vm/removal", "_option_problems", "os.path.realpath"): LOOK,
    ("module_utils/_vm/removal", "_releases", "os.path.lexists"): LOOK,
    ("module_utils/_vm/removal", "_releases", "os.readlink"): LOOK,
    ("module_utils/_vm/systemd", "read_again", "os.path.isdir"): "/run/systemd is root's",
    ("module_utils/_vm/unpacking", "_flush", "os.O_RDONLY"): OWN,
    ("module_utils/_vm/unpacking", "_flush", "os.open"): OWN,
    ("module_utils/_vm/unpacking", "_write", "open"): OWN,
    ("module_utils/_vm/unpacking", "_write", "os.fchmod"): OWN,
    ("module_utils/_vm/unpacking", "_write", "os.fchown"): OWN,
    ("module_utils/_vm/unpacking", "_write", "shutil.copyfileobj"): OWN,
    ("module_utils/_vm/unpacking", "keep", "os.lchown"): OWN,
    ("module_utils/_vm/unpacking", "keep", "os.link"): OWN,
    ("module_utils/_vm/unpacking", "keep", "os.symlink"): OWN,
    ("modules/control_plane_certificate", "own", "os.chown"): OWN,
}


def touching(text):
    """``{(function, what)}`` of every mention of what touches files or servers: a call, or the name handed to somebody who calls it."""
    tree = ast.parse(text)
    names = aliases(tree)
    found = set()

    def visit(node, function):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            function = node.name
        # A type says nothing of what is done.
        skipped = {id(part) for part in annotations(node)}
        what = called(node, names)
        if what:
            found.add((function, what))
        elif not isinstance(node, (ast.Import, ast.ImportFrom)):
            for child in ast.iter_child_nodes(node):
                if id(child) not in skipped:
                    visit(child, function)

    visit(tree, "")
    return found


def aliases(tree):
    """What each name of a file stands for: modules that are watched, and what is imported out of them."""
    names = {"open": "open", "exec": "exec", "eval": "eval", "__import__": "__import__"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(
                {(item.asname or item.name.split(".")[0]): item.name if item.asname else item.name.split(".")[0] for item in node.names}
            )
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update({(item.asname or item.name): f"{node.module}.{item.name}" for item in node.names})
    return names


def annotations(node):
    found = [getattr(node, "annotation", None), getattr(node, "returns", None)]
    return [part for part in found if part is not None]


def called(node, names):
    """``os.open`` where a node means that, and nothing where it means what is harmless."""
    if isinstance(node, ast.Name):
        full = names.get(node.id, "")
        if full == node.id and full in ("open", "exec", "eval", "__import__"):
            return full
        module, _dot, last = full.rpartition(".")
        return full if module in WATCHED and full not in WATCHED and last not in HARMLESS.get(module, ()) else ""
    if not isinstance(node, ast.Attribute):
        return ""
    path = dotted(node)
    if not path:
        # Path(...).read_text() and the like, wherever the path comes from.
        return f".{node.attr}" if node.attr in ("read_text", "read_bytes", "write_text", "write_bytes", "iterdir", "rglob") else ""
    first, _dot, rest = path.partition(".")
    full = f"{names[first]}.{rest}" if first in names else ""
    module, _dot, last = full.rpartition(".")
    return full if module in WATCHED and full not in WATCHED and last not in HARMLESS.get(module, ()) else ""


def dotted(node):
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return ""


def on_vms(sources):
    """The files that run on a VM as root: packages, modules without an API, and programs of roles."""
    for file in sources.files:
        host = file.startswith("modules/") and "module_utils/_module/host" in sources.imports(file)[0]
        if (package_of(file) in ON_A_VM or host) and file not in HELPERS:
            yield file, (sources.plugins / f"{file}.py").read_text() + sources.added.get(file, "")
    for program in PROGRAMS:
        yield program, (ROOT / program).read_text() + sources.added.get(program, "")


def all_touching(sources):
    return {(file, function, what) for file, text in on_vms(sources) for function, what in touching(text)}


def test_whatever_touches_a_vm_does_it_safely_or_has_a_reason():
    found = all_touching(Sources())
    assert sorted(found - set(ALLOWED)) == [], "use _vm/safely.py for files and _vm/asking.py for servers"
    assert sorted(set(ALLOWED) - found) == [], "nobody does this any more"


def test_everything_that_runs_on_a_vm_is_looked_at():
    files = {file for file, _text in on_vms(Sources())}
    for file in (
        "module_utils/_restart/vm",
        "module_utils/_transparent/vm",
        "module_utils/_vm/proxy",
        "modules/proxy_info",
        "modules/proxy_files",
    ):
        assert file in files
    assert "roles/kuma_proxy/files/kuma_dp_restart.py" in files
    assert not files & {"modules/dataplanes", "module_utils/_api/client", *HELPERS}


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("open('/x')", "open"),
        ("import builtins, io\nio.open('/x')", "io.open"),
        ("import os\nos.open('/x', 0)", "os.open"),
        ("import os\nos.stat('/x')", "os.stat"),
        ("import os as system\nsystem.replace('/x', '/y')", "os.replace"),
        ("from os import unlink as gone\ngone('/x')", "os.unlink"),
        ("from os import path\npath.exists('/x')", "os.path.exists"),
        ("from os.path import exists\nexists('/x')", "os.path.exists"),
        ("import os.path\nos.path.getmtime('/x')", "os.path.getmtime"),
        ("import os\ntimes = map(os.stat, paths)", "os.stat"),
        ("import glob\nglob.glob('/x/*')", "glob.glob"),
        ("import pathlib\npathlib.Path('/x')", "pathlib.Path"),
        ("from pathlib import Path\nPath('/x').stat()", "pathlib.Path"),
        ("given.read_text()", ""),
        ("given().read_text()", ".read_text"),
        ("(given / 'x').write_bytes(b'')", ".write_bytes"),
        ("import shutil\nshutil.rmtree('/x')", "shutil.rmtree"),
        ("import tempfile\ntempfile.mkstemp(dir='/x')", "tempfile.mkstemp"),
        ("import socket\nsocket.socket()", "socket.socket"),
        ("import socket\nsocket.create_connection(('x', 1))", "socket.create_connection"),
        ("import http.client\nhttp.client.HTTPConnection('x')", "http.client.HTTPConnection"),
        ("from http import client\nclient.HTTPConnection('x')", "http.client.HTTPConnection"),
        ("import urllib.request\nurllib.request.urlopen('x')", "urllib.request.urlopen"),
        ("__import__('os')", "__import__"),
        ("import os\nos.path.join('/x', 'y')", ""),
        ("import http.client\ntry:\n    pass\nexcept http.client.HTTPException:\n    pass", ""),
        ("import os\ndef f(status: os.stat_result) -> os.stat_result:\n    return status", ""),
        ("safely.read('/x')", ""),
        ("handle.open()", ""),
    ],
)
def test_every_way_to_touch_something_is_seen(line, what):
    assert {found for _function, found in touching(line)} == ({what} if what else set())


@pytest.mark.parametrize("file", ["module_utils/_restart/files", "modules/proxy_info", "roles/kuma_proxy/files/kuma_dp_restart.py"])
def test_the_next_one_is_not_forgotten(file):
    added = Sources(added={file: "\ndef helper(path):\n    with open(path) as handle:\n        return handle.read()\n"})
    assert all_touching(added) - all_touching(Sources()) == {(file, "helper", "open")}
