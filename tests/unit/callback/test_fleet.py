# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the callback prints of events, whose results are of the kind that ansible-core 2.18 has or of the one that later releases have."""

from __future__ import annotations

import itertools
import os
import types

import pytest
from ansible import context

from ansible_collections.meshfleet.kuma.plugins.callback import fleet
from ansible_collections.meshfleet.kuma.plugins.callback.fleet import CallbackModule
from tests.unit import parsed
from tests.unit.callback.events import Play, Task, new_result, old_result

CENSORED = "the output has been hidden due to the fact that 'no_log: true' was specified for this result"


@pytest.fixture(params=[old_result, new_result], ids=["2.18", "later"])
def play(request, monkeypatch):
    monkeypatch.setattr(context, "CLIARGS", {"check": False})

    def make(**options):
        found = Play(request.param, **options)
        assert found.said() == "PLAY [Join]"
        return found

    return make


def test_hosts_that_are_as_they_should_be_print_nothing(play):
    joined = play()
    for task in (Task(), Task(loop=["a"])):
        joined.begin(task)
        joined.tell("on_ok", "vm1", task, changed=False, msg="fine", results=[])
        joined.tell("item_on_ok", "vm1", task, changed=False)
        joined.tell("item_on_skipped", "vm2", task, changed=False)
        joined.tell("on_skipped", "vm2", task, changed=False)
    joined.callback.v2_playbook_on_include(types.SimpleNamespace(_filename="x.yml", _hosts=[], _vars={}))
    joined.callback.v2_playbook_on_no_hosts_matched()
    for event in ("on_async_poll", "on_async_ok", "on_async_failed"):
        joined.tell(event, "vm1", task, ansible_job_id="1", started=1, finished=0)
    assert joined.said() == ""
    assert joined.screen.errors == []


def test_changed_hosts_are_one_line(play):
    joined = play()
    task = joined.begin(Task("Lay everything down"))
    for number in reversed(range(12)):
        joined.tell("on_ok", f"vm{number}", task, changed=True, msg="")
    assert joined.said() == "TASK [Lay everything down]\nchanged (12): vm0, vm1, vm2, vm3, vm4, vm5, vm6, vm7, vm8, vm9 ... and 2 more"
    loop = joined.begin(Task("Items", loop=["a", "b"]))
    for _item in "ab":
        joined.tell("item_on_ok", "vm1", loop, changed=True, item="a")
    joined.tell("on_ok", "vm1", loop, changed=True, results=[{}, {}])
    assert joined.said() == "TASK [Items]\nchanged (1): vm1"


def test_a_task_is_over_when_the_next_one_starts(play):
    joined = play()
    task = joined.begin(Task("one"))
    joined.tell("on_ok", "vm1", task, changed=True)
    assert joined.screen.lines == []
    joined.begin(Task("two"))
    assert joined.screen.lines == ["", "TASK [one]", "changed (1): vm1"]
    joined.tell("on_ok", "vm1", task, changed=True)
    joined.callback.v2_playbook_on_no_hosts_remaining()
    assert joined.screen.lines[-2:] == ["", "NO MORE HOSTS LEFT"]
    joined.tell("on_ok", "vm2", task, changed=True)
    joined.callback.v2_playbook_on_vars_prompt("x")
    assert joined.screen.lines[-1] == "changed (1): vm2"
    # The next batch of hosts has the same task, and its name is printed once more.
    joined.said()
    joined.start()
    joined.tell("on_ok", "vm3", task, changed=True)
    assert joined.said() == "PLAY [Join]\n\nTASK [one]\nchanged (1): vm3"


def test_hosts_that_fail_for_the_same_reason_are_printed_together(play):
    joined = play()
    task = joined.begin(Task("Stop", delegate_to=None))
    for name in ("vm10", "vm2", "vm3"):
        joined.tell("on_failed", name, task, msg=f"{name}: no port\nexpected one", problems=["x"], changed=False)
    joined.tell("on_failed", "vm4", task, msg="else", changed=False, ignore_errors=True)
    joined.tell("on_unreachable", "vm5", task, msg="no route", unreachable=True)
    assert joined.said().split("\n") == [
        "TASK [Stop]",
        "failed, ignored on vm4:",
        "  else",
        "FAILED on vm2, vm3, vm10:",
        "  no port",
        "  expected one",
        "UNREACHABLE: vm5",
        "  no route",
    ]


def test_what_another_host_did_is_told(play):
    joined = play()
    task = joined.begin(Task("Ask", delegate_to="localhost"))
    for name in ("vm1", "vm2", "localhost"):
        joined.tell("on_failed", name, task, msg="no")
    assert joined.said() == "TASK [Ask]\nFAILED on localhost:\n  no\nFAILED on vm1, vm2 -> localhost:\n  no"


def test_items_that_fail_are_told_by_their_labels(play):
    joined = play()
    task = joined.begin(Task("Loop", loop=["a", "b"]))
    for name in ("vm1", "vm2"):
        for item in "ab":
            joined.tell("item_on_failed", name, task, msg="no", item=item, _ansible_item_label=item.upper())
        joined.tell("on_failed", name, task, msg="One or more items failed", results=[{}, {}], ignore_errors=name == "vm1")
    joined.tell("on_failed", "vm3", task, msg="the loop is no list")
    joined.tell("item_on_failed", "vm4", task, msg="gone", unreachable=True, item="a")
    joined.tell("on_unreachable", "vm4", task, msg="", results=[{}])
    joined.tell("item_on_failed", "vm5", task, censored=CENSORED, _ansible_no_log=True)
    assert joined.said().split("\n") == [
        "TASK [Loop]",
        "failed, ignored on vm1 (items A, B):",
        "  no",
        "FAILED on vm2 (items A, B):",
        "  no",
        "FAILED on vm3:",
        "  the loop is no list",
        "FAILED on vm5 (item=(censored due to no_log)):",
        f"  {CENSORED}",
        "UNREACHABLE: vm4 (item=a)",
        "  gone",
    ]


def test_a_result_without_a_message_is_printed_as_it_is(play):
    joined = play()
    task = joined.begin(Task("Ask"))
    joined.tell("on_failed", "vm1", task, status=500, changed=False, _ansible_no_log=False, invocation={"a": 1})
    assert joined.said() == 'TASK [Ask]\nFAILED on vm1:\n  {"changed": false, "status": 500}'


def test_censored_results_stay_so(play):
    joined = play()
    task = joined.begin(Task("Token", no_log=True))
    joined.tell("on_failed", "vm1", task, censored=CENSORED, exception="Traceback\nValueError: secret", changed=False)
    assert joined.said() == f"TASK [Token]\nFAILED on vm1:\n  {CENSORED}"


@pytest.mark.parametrize("verbosity", [1, 3])
def test_censored_results_stay_so_with_v(verbosity):
    joined = Play(new_result, verbosity=verbosity)
    printed = []
    joined.callback._handle_exception = lambda content, use_stderr=False: printed.append(content.get("exception"))
    task = joined.begin(Task("Token", no_log=True))
    for event in ("on_failed", "item_on_failed"):
        joined.tell(event, "vm1", task, censored=CENSORED, exception="ValueError: secret", changed=False)
    assert CENSORED in joined.said()
    assert printed == [None, None]


def test_the_specification_of_a_role_is_never_printed(play):
    joined = play()
    task = joined.begin(Task("Validating arguments", action="ansible.builtin.validate_argument_spec"))
    joined.tell(
        "on_failed",
        "vm1",
        task,
        argument_errors=["missing a", "wrong b"],
        argument_spec_data={"SPEC": 1},
        msg="Validation failed:\nmissing a",
    )
    assert joined.said() == "TASK [Validating arguments]\nFAILED on vm1:\n  Validation failed:\n  missing a\n  wrong b"


def test_debug_is_text(play):
    joined = play()
    always = {"_ansible_verbose_always": True}
    once = joined.begin(Task("Summary", "ansible.builtin.debug", run_once=True))
    joined.tell("on_ok", "vm1", once, msg=["joined (2): vm1, vm2", "unchanged (0): -"], changed=False, **always)
    assert joined.said() == "TASK [Summary]\njoined (2): vm1, vm2\nunchanged (0): -"
    each = joined.begin(Task("Each", "ansible.builtin.debug"))
    for name in ("vm2", "vm1", "vm3"):
        joined.tell("on_ok", name, each, msg="other" if name == "vm3" else "hello", changed=False, **always)
    assert joined.said() == "TASK [Each]\nvm1, vm2: hello\nvm3: other"
    values = joined.begin(Task("Values", "ansible.builtin.debug"))
    joined.tell("on_ok", "vm1", values, kuma_dp_name="web-1", changed=False, **always)
    joined.tell("on_ok", "vm2", values, kuma_dp_ports={"a": 1}, changed=True, **always)
    assert joined.said().split("\n") == [
        "TASK [Values]",
        "vm1: kuma_dp_name: web-1",
        "vm2:",
        "  {",
        '      "kuma_dp_ports": {',
        '          "a": 1',
        "      }",
        "  }",
        "changed (1): vm2",
    ]
    loop = joined.begin(Task("Loop", "ansible.builtin.debug", loop=["a", "b"]))
    for item in "ab":
        joined.tell("item_on_ok", "vm1", loop, msg=f"is {item}", item=item, **always)
    joined.tell("on_ok", "vm1", loop, changed=False, results=[{}, {}], msg="All items completed")
    assert joined.said() == "TASK [Loop]\nvm1:\n  is a\n  is b"
    facts = joined.begin(Task("Facts", "ansible.builtin.setup"))
    joined.tell("on_ok", "vm1", facts, msg="no", _ansible_verbose_override=True, **always)
    assert joined.said() == ""


def test_where_hosts_do_not_wait_for_each_other_what_is_new_is_printed_at_once(play):
    joined = play(strategy="ansible.builtin.host_pinned")
    one, two = joined.begin(Task("one")), joined.begin(Task("two"))
    joined.tell("on_ok", "vm1", one, changed=True)
    joined.tell("on_failed", "vm1", two, msg="vm1: no")
    assert joined.screen.lines == ["", "TASK [two]", "FAILED on vm1:", "  vm1: no"]
    joined.begin(one)
    joined.tell("on_ok", "vm2", one, changed=True)
    joined.tell("on_failed", "vm2", two, msg="vm2: no")
    joined.tell("on_failed", "vm3", two, msg="vm3: no")
    assert len(joined.screen.lines) == 4
    assert joined.said().split("\n")[4:] == ["TASK [one]", "changed (2): vm1, vm2", "", "TASK [two]", "FAILED on vm2, vm3:", "  no"]


def diffs(joined, name, task, *parts, **content):
    joined.callback.v2_on_file_diff(joined.make(name, task, **{"changed": True, "diff": list(parts), **content}))


def file_diff(path, after, before=""):
    return {"before": before, "after": after, "before_header": path, "after_header": path}


def test_diffs_stand_below_the_names_of_their_hosts(play):
    joined = play()
    task = joined.begin(Task("Write", diff=True))
    for name in ("vm2", "vm10", "vm1"):
        diffs(joined, name, task, file_diff("/unit", "same\n"), file_diff("/env", f"{name}\n"), file_diff("/other", "same too\n"))
        joined.tell("on_ok", name, task, changed=True)
    diffs(joined, "vm3", task, file_diff("/unit", "same\n"), changed=False)
    diffs(joined, "vm3", task, file_diff("/unit", "same\n", before="same\n"))
    said = joined.said().split("\n")
    assert [line for line in said if not line.startswith("@@")] == [
        "TASK [Write]",
        *[
            "vm1, vm2, vm10:",
            "--- before: /unit",
            "+++ after: /unit",
            "+same",
            "",
            "--- before: /other",
            "+++ after: /other",
            "+same too",
            "",
        ],
        *["vm1:", "--- before: /env", "+++ after: /env", "+vm1", ""],
        *["vm2:", "--- before: /env", "+++ after: /env", "+vm2", ""],
        *["vm10:", "--- before: /env", "+++ after: /env", "+vm10", ""],
        "changed (3): vm1, vm2, vm10",
    ]


def test_a_diff_without_a_file_and_those_of_items_are_told_as_well(play):
    joined = play()
    joined.callback.v2_on_file_diff(joined.make("vm1", joined.begin(Task("Write", diff=True)), changed=True, diff={"prepared": "-a\n+b\n"}))
    items = [{"item": "x", "changed": True, "diff": [{"prepared": "-a\n+c\n"}]}, {"item": "y", "changed": True}]
    loop = joined.begin(Task("Loop", loop=["x", "y"]))
    for name in ("vm3", "vm4"):
        joined.callback.v2_on_file_diff(joined.make(name, loop, changed=True, results=items))
    assert joined.said().split("\n") == [
        *["TASK [Write]", "vm1:", "-a", "+b", "", ""],
        *["TASK [Loop]", "vm3, vm4 (item=x):", "-a", "+c"],
    ]


def test_where_hosts_are_not_in_step_a_diff_is_told_at_once(play):
    joined = play(strategy="free")
    task = joined.begin(Task("Write", diff=True))
    diffs(joined, "vm1", task, file_diff("/unit", "same\n"))
    assert joined.screen.lines[1:4] == ["TASK [Write]", "vm1:", "--- before: /unit"]
    before = len(joined.screen.lines)
    diffs(joined, "vm2", task, file_diff("/unit", "same\n"))
    assert len(joined.screen.lines) == before


def test_warnings_have_the_name_of_the_first_task_that_they_are_of(play):
    joined = play()
    for name in ("one", "two"):
        task = joined.begin(Task(name))
        joined.tell("on_ok", "vm1", task, changed=False, warnings=["careful"])
        joined.tell("on_skipped", "vm2", task, changed=False, warnings=["careful"])
    assert joined.said() == "TASK [one]"
    assert joined.screen.errors == ["[WARNING]: careful"] * 4, "how often it is printed is the display's matter"


def test_a_task_that_is_tried_again_says_so_once(play):
    joined = play()
    task = joined.begin(Task("Wait"))
    for attempts, name in itertools.product((1, 2), ("vm1", "vm2")):
        joined.tell("retry", name, task, retries=30, attempts=attempts)
    assert joined.said() == "TASK [Wait]\nretrying: vm1 is the first, with 29 retries left"


def test_options_of_the_default_callback_count(play):
    joined = play(display_failed_stderr=True, show_task_path_on_failure=True, check_mode_markers=True)
    task = joined.begin(Task("Ask", check_mode=True))
    joined.tell("on_failed", "vm1", task, msg="no")
    joined.tell("on_unreachable", "vm2", task, msg="gone")
    joined.tell("on_ok", "vm3", task, changed=True)
    assert joined.said() == "TASK [Ask] [CHECK MODE]\nchanged (1): vm3\ntask path: site.yml:7"
    assert joined.screen.errors == ["FAILED on vm1:", "  no", "UNREACHABLE: vm2", "  gone"]


def test_what_fails_before_its_task_begins_says_where_that_is(play):
    joined = play()
    task = joined.begin(Task("Template"))
    joined.tell("on_failed", "vm1", task, msg="Task failed: 'x' is undefined")
    assert joined.said().endswith("FAILED on vm1:\n  Task failed: 'x' is undefined\ntask path: site.yml:7")


def test_the_recap_has_a_line_for_each_outcome(play, monkeypatch):
    joined = play(show_custom_stats=True, check_mode_markers=True)
    monkeypatch.setattr(context, "CLIARGS", {"check": True})
    task = joined.begin(Task("last"))
    joined.tell("on_ok", "vm3", task, changed=True)
    stats = {"vm1": {"ok": 3}, "vm2": {"ok": 3}, "vm3": {"changed": 1}, "vm4": {"failures": 1}, "vm5": {"unreachable": 1}}
    summaries = types.SimpleNamespace(processed=stats, custom={"_run": {"b": 2}, "vm1": {"a": 1}}, summarize=stats.get)
    joined.callback.v2_playbook_on_stats(summaries)
    assert joined.said().split("\n") == [
        "TASK [last]",
        "changed (1): vm3",
        "",
        "PLAY RECAP",
        "ok (2): vm1, vm2",
        "changed (1): vm3",
        "failed (1): vm4",
        "unreachable (1): vm5",
        "",
        "",
        "CUSTOM STATS: ",
        '\tvm1: { "a": 1}',
        '\tRUN: { "b": 2}',
        "",
        "",
        "DRY RUN",
    ]


def test_what_was_collected_is_printed_when_a_play_is_interrupted(play, monkeypatch):
    joined = play()
    task = joined.begin(Task("Long"))
    joined.tell("on_failed", "vm1", task, msg="no")
    monkeypatch.setattr(os, "getpid", lambda: 1)
    joined.callback._leave()
    assert joined.screen.lines == [], "a worker is a copy of the process that prints"
    monkeypatch.undo()
    joined.callback._leave()
    assert joined.screen.lines[-2:] == ["FAILED on vm1:", "  no"]


def test_with_v_it_is_the_default_callback(monkeypatch):
    monkeypatch.setattr(context, "CLIARGS", {"check": False})
    joined = Play(new_result, verbosity=1)
    task = joined.begin(Task("Ask"))
    joined.tell("on_ok", "vm1", task, changed=False, msg="fine")
    joined.tell("on_ok", "vm2", task, changed=True, msg="fine")
    joined.tell("on_skipped", "vm3", task, changed=False)
    joined.tell("on_failed", "vm4", task, msg="no", argument_spec_data={"SPEC": 1})
    joined.tell("on_unreachable", "vm5", task, msg="gone")
    joined.callback.v2_playbook_on_include(types.SimpleNamespace(_filename="x.yml", _hosts=[], _vars={}))
    joined.over(vm1={"ok": 1})
    said = joined.said()
    for line in (
        "ok: [vm1] => ",
        "changed: [vm2] => ",
        "skipping: [vm3]",
        "fatal: [vm4]: FAILED!",
        "fatal: [vm5]: UNREACHABLE!",
        "included: x.yml",
    ):
        assert line in said
    assert "SPEC" not in said
    assert "vm1  " in said, "the recap has a line for each host"


def test_it_has_the_options_of_the_default_callback():
    found = parsed.text(fleet.DOCUMENTATION)
    assert found["extends_documentation_fragment"] == ["default_callback", "result_format_callback"]
    assert (found["name"], found["type"], CallbackModule.CALLBACK_TYPE) == ("fleet", "stdout", "stdout")
    assert f"meshfleet.kuma.{found['name']}" == CallbackModule.CALLBACK_NAME
