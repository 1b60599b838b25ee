# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The search for tokens finds them: a test that finds nothing is worth as much as this."""

from __future__ import annotations

import base64
import json
import subprocess
import sys

import jwt
import pytest

from tests.lab import canary

TOKEN = jwt.encode({"Name": "web-1-cover", "exp": 1_800_000_000}, "secret" * 8, algorithm="HS256").encode()


@pytest.mark.parametrize("before", [b"", b"a", b"ab", b"abc", b'{"content": "'])
@pytest.mark.parametrize("wrap", [lambda text: text, base64.b64encode, lambda text: json.dumps({"a": text.decode()}).encode()])
def test_a_token_is_found_where_it_is_and_in_base64_wherever_it_begins(before, wrap):
    assert canary.holds_token(b"noise " + wrap(before + TOKEN + b'"}') + b" noise")


@pytest.mark.parametrize("data", [b"", b"eyJ", TOKEN[:20], base64.b64encode(TOKEN[:40]), b"A" * 500, b"eyJhbGciOiJIUzI1NiJ9 alone"])
def test_nothing_else_is_taken_for_one(data):
    assert not canary.holds_token(data)


@pytest.mark.parametrize("text", canary.TEXTS)
@pytest.mark.parametrize("wrap", [lambda text: text, base64.b64encode, lambda text: json.dumps(text.decode()).encode()])
def test_a_canary_is_found_in_each_of_its_lines(text, wrap):
    lines = [line for value in canary.SETTINGS.values() for line in value.replace("C=", "").replace("==", "").split("\n")]
    assert tuple(lines) == canary.TEXTS
    for value in canary.SETTINGS.values():
        found = canary.held(wrap(b"x" * 60 + value.encode()), [text])
        assert found == ([text] if text in value else [])


class Host:
    """A host in a directory: its files, its processes, and what its systemctl and journalctl say."""

    def __init__(self, root, said):
        self.root = root
        for name in ("systemctl", "journalctl"):
            (root / "commands").mkdir(exist_ok=True)
            (root / "commands" / name).write_text(f"#!/bin/sh\ncat <<'END'\n{said.get(name, '')}\nEND\n")
            (root / "commands" / name).chmod(0o755)

    def put(self, path, text):
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def script(self, source):
        for path in ("/proc", "/sys", "/opt/kuma"):
            source = source.replace(f'"{path}', f'"{self.root}{path}')
        source = source.replace('os.walk("/")', f"os.walk({str(self.root)!r})").replace(r"'own_files': '", f"'own_files': '{self.root}")
        environment = {"PATH": f"{self.root}/commands:/usr/bin:/bin"}
        return subprocess.run([sys.executable, "-"], input=source, env=environment, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("secret", [TOKEN.decode(), "canary-second==", base64.b64encode(b"_" * 60 + b"canary-second==").decode()])
def test_whatever_is_on_a_host_is_searched_but_for_what_belongs_there(tmp_path, secret):
    (tmp_path / "root").mkdir()
    host = Host(tmp_path / "root", {})
    for path in ("etc/kuma/env/.web-1.started", "etc/kuma/tokens/web-1"):
        host.put(path, secret)
    for number, unit in (("7", "kuma-dp@web-1"), ("8", "kuma-dp-restart@web-1"), ("9", "kuma-dp-cover@web-1")):
        host.put(f"proc/{number}/cgroup", f"0::/system.slice/system-kuma.slice/{unit}.service\n")
        host.put(f"proc/{number}/environ", "A=canary-second==\0")
        host.put(f"proc/{number}/cmdline", "kuma-dp\0run")
    host.put("var/lib/kuma-dp/web-1/started.json", secret)
    host.put("proc/9/cmdline", secret)
    host.put("opt/kuma/2.14.3/bin/envoy", secret)
    found = {path.replace(str(host.root), "") for path in canary.on_host(host, 0.0, canary.TEXTS)}
    assert found == {"/var/lib/kuma-dp/web-1/started.json", "/proc/8/environ", "/proc/9/cmdline"}
    later = {path.replace(str(host.root), "") for path in canary.on_host(host, 4e9, canary.TEXTS)}
    assert later == {"/proc/8/environ", "/proc/9/cmdline"}


@pytest.mark.parametrize(("command", "place"), [("systemctl", "systemctl show"), ("journalctl", "the journal")])
def test_what_systemd_shows_and_logs_is_searched(tmp_path, command, place):
    (tmp_path / "proc").mkdir()
    assert canary.on_host(Host(tmp_path, {command: "Environment=A=canary-second=="}), 4e9, canary.TEXTS) == [place]
