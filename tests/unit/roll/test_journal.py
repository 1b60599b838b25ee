# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a run: one writer at a time, whole files whatever happens, and who is still alive."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket

import pytest

from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import journal as roll_journal

HEAD = {
    "run": "r1",
    "epoch": 1,
    "mesh": "default",
    "control_plane": "http://cp",
    "kind": "restart",
    "owner": "me@here",
    "started": 1.0,
    "finished": None,
    "status": "running",
    "abort": None,
    "settings": {},
    "state": {},
}
fork = multiprocessing.get_context("fork")


@pytest.fixture
def journal(tmp_path):
    records = {f"web-{index}": {"order": index, "status": "waiting"} for index in range(30)}
    return roll_journal.Journal.create(str(tmp_path / "default"), "r1", HEAD, records)


def test_what_is_written_is_read_in_the_order_of_the_plan(journal):
    journal.save_record("left-out", {"order": -1, "status": "skipped"})
    journal.save_record("web-3", {"order": 3, "status": "done"})
    assert list(journal.records()) == [f"web-{index}" for index in range(30)] + ["left-out"]
    assert journal.record("web-3") == {"order": 3, "status": "done"}
    assert journal.record("nobody") is None
    whole = roll_journal.read_json(journal.write_whole())
    assert whole["hosts"]["web-3"]["status"] == "done"
    assert "state" not in whole
    assert oct(os.stat(journal.path).st_mode & 0o777) == "0o700"
    assert oct(os.stat(os.path.join(journal.path, "head.json")).st_mode & 0o777) == "0o600"


def count_up(path, times):
    journal = roll_journal.Journal(path)
    for _time in range(times):
        with journal.locked():
            head = journal.head()
            head["state"]["count"] = head["state"].get("count", 0) + 1
            journal.save_head(head)


def test_many_processes_change_the_head_one_after_the_other(journal):
    processes = [fork.Process(target=count_up, args=(journal.path, 25)) for _number in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert journal.head()["state"]["count"] == 100
    assert not [name for name in os.listdir(journal.path) if name.startswith(".new-")]


def test_a_write_that_fails_leaves_the_old_file_and_no_other(journal):
    before = journal.head()
    with pytest.raises(TypeError):
        journal.save_head({**HEAD, "state": object()})
    with pytest.raises(UnicodeEncodeError):
        roll_journal.write_text(os.path.join(journal.path, "head.json"), "\ud800")
    assert journal.head() == before
    assert not [name for name in os.listdir(journal.path) if name.startswith(".new-")]


def wait_forever(path, ready):
    with roll_journal.Journal(path).waits("web-1"):
        ready.set()
        signal.pause()


def test_a_host_waits_only_as_long_as_its_process_lives(journal):
    assert not journal.still_waits("web-1")
    ready = fork.Event()
    process = fork.Process(target=wait_forever, args=(journal.path, ready))
    process.start()
    assert ready.wait(30)
    assert journal.still_waits("web-1")
    assert not journal.still_waits("web-2")
    process.kill()
    process.join()
    assert not journal.still_waits("web-1")


def test_one_process_asks_the_control_plane_at_a_time(journal):
    with journal.refreshing() as mine:
        assert mine
        with roll_journal.Journal(journal.path).refreshing() as also:
            assert not also
    with journal.refreshing() as again:
        assert again


def test_the_history_survives_a_line_that_was_cut(journal):
    journal.note_services([{"service": "web", "at": 1.0, "total": 4}])
    with open(os.path.join(journal.path, "services.jsonl"), "a", encoding="utf-8") as file:
        file.write('{"service": "we')
    assert journal.services() == {"web": [{"at": 1.0, "total": 4}]}


def test_runs_are_found_by_their_name_and_never_outside(journal, tmp_path):
    assert roll_journal.find(str(tmp_path), "r1").path == journal.path
    for name in ("r2", "", "../default/r1", "default/r1"):
        with pytest.raises(roll_journal.NoRun, match="give the run that state=start returned"):
            roll_journal.find(str(tmp_path), name)


def test_unfinished_runs_of_one_control_plane(journal):
    base = os.path.dirname(journal.path)
    roll_journal.Journal.create(base, "r2", {**HEAD, "status": "done"}, {})
    roll_journal.Journal.create(base, "r3", {**HEAD, "control_plane": "http://other"}, {})
    roll_journal.Journal.create(base, "r4", HEAD, {})
    assert [found.run for found in roll_journal.unfinished(base, "http://cp")] == ["r4", "r1"]
    assert roll_journal.unfinished(os.path.join(base, "none"), "http://cp") == []


def test_a_process_is_told_from_a_later_one_with_its_number():
    own = roll_journal.identity(os.getpid())
    assert own["host"] == socket.gethostname()
    assert roll_journal.lives(own) is True
    assert roll_journal.lives({**own, "began": "1"}) is False
    assert roll_journal.lives({**own, "boot": "another"}) is False
    assert roll_journal.lives({**own, "host": "elsewhere"}) is None
    pid = os.fork()
    if pid == 0:
        signal.pause()
    found = roll_journal.identity(pid)
    assert roll_journal.lives(found) is True
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert roll_journal.lives(found) is False, "a zombie has ended"
    os.waitpid(pid, 0)
    assert roll_journal.lives(found) is False


def test_a_change_of_one_host_writes_little_in_a_big_fleet(tmp_path):
    records = {f"host-{index:05}": {"order": index, "status": "waiting", "parts": ["x" * 200]} for index in range(5000)}
    journal = roll_journal.Journal.create(str(tmp_path), "big", HEAD, records)
    biggest = max(entry.stat().st_size for entry in os.scandir(os.path.join(journal.path, "hosts")))
    assert biggest < len(json.dumps(records)) / 100
