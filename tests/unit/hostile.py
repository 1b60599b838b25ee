# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values that are no names, versions or paths, and a witness that nothing was sent, run or written because of one."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import sys

from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming

# One of each kind: other paths, options, what is too long, control characters, other alphabets, escapes.
PARTS = [
    ".", "..", "", "/", "a/b", "../..", "../../etc", "a/../b", "-x", "--root=/x", "x" * 300, "a b", "web-1\n", "\n", "a\0", "\0", "\x1b[2J",
    "a\\b", "..\\..", "%2e%2e", "a%2fb", ".web", "w\u00e9b", "\uff0e\uff0e", "\u202eweb", "$(id)", "`id`", "*", "a;b", "'", '"',
]  # fmt: skip
PATHS = [
    "", ".", "..", "/", "//", "etc/kuma", "../etc", "/etc/../root", "/etc/kuma/..", "/etc/./kuma", "/..", "/etc/kuma cp", "/etc/kuma\n",
    "/etc/kuma\0", "/etc/%i", "/etc/kuma*", "/etc/w\u00e9b", "/etc/" + "x" * 300, "/a" * 600, "/etc/'x'", "/etc/\x07",
]  # fmt: skip
# What is no path at all, wherever on the VM.
NO_PATHS = [
    "",
    ".",
    "..",
    "a",
    "a/b",
    "../etc",
    "/nowhere/../root",
    "/nowhere/a/..",
    "/nowhere/./a",
    "/..",
    "/nowhere/\n",
    "/nowhere/a\0b",
    "\0",
]
PLACES = ["a\0", "\0", "a\nb", "/etc/\x1b[2J", "x" * 300, "/a" * 600, "\u00e9" * 200]

# A unit may begin with a dash.
UNITS = ["", "a/b", "../a", "a b", "a.service\nExecStart=/bin/sh", "%i.service", "a\0", "x" * 300, "w\u00e9b", "$(id)", "*"]

# Nothing of it means anything to a path, a URL, a shell or a unit.
_PLAIN = re.compile(r"[A-Za-z0-9_][-A-Za-z0-9_.]{0,200}\Z")
_TEXT = st.characters(exclude_categories=("Cs",))
_parts = (
    st.sampled_from(PARTS)
    | st.text(_TEXT, max_size=12).filter(lambda text: not _PLAIN.match(text))
    | st.text("ab1.-_", min_size=256, max_size=300)
    | st.lists(st.sampled_from(["..", ".", "a", "", "%2e", "\\", "\0"]), min_size=2, max_size=4).map("/".join)
)
# Without what the modules replace: ~ and variables of the environment.
_bad = st.sampled_from(["..", ".", " ", "%2e%2e", "a\0", "a\nb", "\u00e9", "x" * 256, "*", "a;b", "'", "\x7f"])
_paths = st.sampled_from(PATHS) | st.lists(_bad | st.sampled_from(["a", "etc"]), min_size=1, max_size=4).map(
    lambda parts: "/" + "/".join([*parts, ".."])
)
_places = st.sampled_from(PLACES) | st.tuples(st.text("a/.", max_size=4), st.characters(categories=["Cc"])).map("".join)

# Paths that are judged by what is done with them: a rule of the tests.
BY_USE = "judged by use"
_LISTS = {BY_USE: NO_PATHS, naming.PATH: PATHS, naming.PLACE: PLACES, naming.UNIT: UNITS}
_STRATEGIES = {BY_USE: st.sampled_from(NO_PATHS), naming.PATH: _paths, naming.PLACE: _places, naming.UNIT: st.sampled_from(UNITS)}


def fixed(rule):
    """A list of values that a rule has to refuse."""
    return _LISTS.get(rule, PARTS)


def values(rule):
    """A strategy for more of them."""
    return _STRATEGIES.get(rule, _parts)


# What of Python's own audit events is a change of the machine, a program, or a request.
_EVENTS = (
    "os.chmod", "os.chown", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.truncate", "os.utime", "os.system",
    "os.exec", "os.fork", "os.posix_spawn", "os.kill", "shutil.rmtree", "tempfile.mkstemp", "tempfile.mkdtemp", "subprocess.Popen",
    "socket.connect", "socket.sendto",
)  # fmt: skip
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_armed = []


class Touched(BaseException):
    """Something was about to be done. Nobody catches it, and so it is not done."""


def _witness(event, arguments):
    if _armed and (event in _EVENTS or (event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITES)):
        raise Touched(event, *map(repr, arguments))


@functools.cache
def _install():
    sys.addaudithook(_witness)


@contextlib.contextmanager
def untouched():
    """Fails before anything of this process writes, removes, runs or asks for something: the machine of whoever runs the tests is a VM, too."""
    _install()
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    _armed.append(True)
    try:
        yield
    finally:
        _armed.pop()
        sys.dont_write_bytecode = before
