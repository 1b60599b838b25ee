# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The printed timer, service and crontab that renew tokens: systemd and cron take them, and what they run is there."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess

import pytest

from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play.variables import PLAYBOOK_OPTIONS
from tests.unit.gate.test_collection import ROOT
from tests.unit.gate.test_guides import blocks

BLOCKS = list(blocks(ROOT / "docs/tokens.md"))
FIELDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
NAMES = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|sun|mon|tue|wed|thu|fri|sat"


def units():
    """``{name: text}`` of the printed units, each under the name that its first line says."""
    found = [(re.match(r"# /etc/systemd/system/(\S+)\n", body), body) for language, body in BLOCKS if language == "ini"]
    return {match[1]: body for match, body in found if match}


def crontab():
    (body,) = [body for language, body in BLOCKS if language == "crontab"]
    return body


@pytest.fixture(params=["as printed", "broken"])
def directory(tmp_path, request):
    """The units, with a program that is on every machine in place of ansible-playbook, which is not where they say."""
    for name, body in units().items():
        text = body.replace("/usr/bin/ansible-playbook", shutil.which("true")).replace(
            "EnvironmentFile=/etc", f"EnvironmentFile={tmp_path}"
        )
        if request.param == "broken":
            text = text.replace("[Timer]\n", "[Timer]\nOnCalender=daily\n").replace("Type=oneshot", "Type=once")
        (tmp_path / name).write_text(text)
    tmp_path.joinpath("rotate-tokens.env").write_text("")
    return tmp_path, request.param == "broken"


def test_systemd_takes_the_units(directory):
    path, broken = directory
    names = sorted(units())
    assert names == ["rotate-tokens.service", "rotate-tokens.timer"]
    command = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *(str(path / name) for name in names)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    # What the machine of the test lacks, such as other units, is not told with a path of ours.
    said = [line for line in done.stderr.splitlines() if "rotate-tokens" in line]
    assert bool(said) is broken, said


def test_the_timer_starts_the_service_and_can_be_enabled():
    timer = units()["rotate-tokens.timer"]
    assert "Unit=" not in timer, "it starts the service of its name"
    assert "WantedBy=timers.target" in timer
    calendar = re.search(r"^OnCalendar=(.*)$", timer, re.MULTILINE)[1]
    assert subprocess.run(["systemd-analyze", "calendar", calendar], capture_output=True, check=False).returncode == 0


def fault(line):
    """What is wrong with a line of a crontab of the system; empty when cron takes it."""
    if not line.strip() or line.startswith("#") or re.match(r"[A-Z_]+\s*=", line):
        return ""
    words = line.split(None, 6)
    if len(words) < 7:
        return "a line has five times, a user and a command"
    for word, (low, high) in zip(words, FIELDS, strict=False):
        for part in word.split(","):
            match = re.fullmatch(rf"(?:\*|(\d+|{NAMES})(?:-(\d+|{NAMES}))?)(?:/(\d+))?", part, re.IGNORECASE)
            numbers = [int(number) for number in (match.groups()[:2] if match else ()) if number and number.isdigit()]
            if not match or any(not low <= number <= high for number in numbers) or numbers != sorted(numbers):
                return f"{word} is no time"
    if not re.fullmatch(r"[a-z_][a-z0-9_-]*", words[5]):
        return f"{words[5]} is no user"
    return "a percent sign ends the command" if re.search(r"(?<!\\)%", words[6]) else ""


def test_cron_takes_the_crontab():
    lines = crontab().splitlines()
    assert [fault(line) for line in lines if fault(line)] == []
    assert any(line[:1].isdigit() for line in lines)


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("0 3 * * * ansible true", ""),
        ("*/5 0-6,22 1 jan mon ansible true", ""),
        ("60 3 * * * ansible true", "60 is no time"),
        ("0 3 * * ansible true", "a line has five times, a user and a command"),
        ("0 3 * * ansible true x", "ansible is no time"),
        ("0 3 * * * 1x true", "1x is no user"),
        ("0 3 * * * ansible date +%s", "a percent sign ends the command"),
        ("30-10 3 * * * ansible true", "30-10 is no time"),
    ],
)
def test_what_cron_does_not_take_is_found(line, wrong):
    assert fault(line) == wrong


def commands():
    """What the service and the crontab run, as words."""
    service = re.search(r"^ExecStart=(.*)$", units()["rotate-tokens.service"], re.MULTILINE)[1].replace("%%", "%")
    (line,) = [line for line in crontab().splitlines() if line[:1].isdigit()]
    return [shlex.split(service), shlex.split(line.split(None, 6)[6].split("&&")[-1])]


def test_what_they_run_is_a_playbook_of_ours_with_options_that_there_are():
    for words in commands():
        (book,) = [word for word in words if word.startswith("meshfleet.kuma.")]
        assert (ROOT / f"playbooks/{book.rpartition('.')[2]}.yml").exists()
        given = [words[index + 1].partition("=")[0] for index, word in enumerate(words) if word == "-e"]
        assert given
        assert set(given) <= PLAYBOOK_OPTIONS
