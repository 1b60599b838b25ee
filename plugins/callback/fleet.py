# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = """
name: fleet
type: stdout
short_description: Output that is as long for 2,000 hosts as for 4
version_added: 0.2.0
description:
  - Prints what changed, what failed and what a task has to say. Hosts that have the same in common are named together, in one line.
  - Hosts that are as they should be, and tasks that have only such hosts, print nothing.
  - With C(-v) and more it prints what P(ansible.builtin.default#callback) prints, except for what is hidden by C(no_log) and for the
    specification of a role whose arguments are wrong.
extends_documentation_fragment:
  - default_callback
  - result_format_callback
notes:
  - O(display_ok_hosts), O(display_skipped_hosts) and C(display_included_hosts) count with C(-v) and more.
requirements:
  - set as stdout in configuration
author:
  - the meshfleet.kuma maintainers (@meshfleet)
"""

import atexit
import functools
import os
import typing as t

from ansible import constants as C  # noqa: N812 - as in all of Ansible
from ansible import context
from ansible.plugins.callback.default import CallbackModule as Default

from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import output, reasons

Content = t.Dict[str, t.Any]

# Options of the default callback that are off as long as nobody asks for more.
_WITH_MORE_VERBOSITY = ("display_ok_hosts", "display_skipped_hosts", "display_included_hosts")
# Strategies that do not wait for the slowest host after each task; those of others end with the same words.
_NOT_IN_STEP = ("free", "host_pinned")
# How ansible-core 2.19 and later begin what failed before a module or an action could say anything. It does not say where.
_BEFORE_THE_TASK = "Task failed: "
_COLOURS = {
    "ok": "COLOR_OK",
    "retried": "COLOR_DEBUG",
    output.MESSAGE: "COLOR_OK",
    output.CHANGED: "COLOR_CHANGED",
    "rescued": "COLOR_OK",
    "ignored": "COLOR_WARN",
    output.IGNORED: "COLOR_WARN",
    output.UNREACHABLE_IGNORED: "COLOR_WARN",
    output.FAILED: "COLOR_ERROR",
    output.UNREACHABLE: "COLOR_UNREACHABLE",
}


def unless_verbose(method: t.Callable[..., None]) -> t.Callable[..., None]:
    """With -v and more the default callback's method of this name takes the place of this one."""
    default = getattr(Default, method.__name__)

    @functools.wraps(method)
    def chosen(self: t.Any, *args: t.Any, **kwargs: t.Any) -> None:
        (method if self._display.verbosity < 1 else default)(self, *args, **kwargs)

    return chosen


class CallbackModule(Default):
    """Collects what hosts say until their task is over. Ansible calls it in its main process, one event after the other."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "meshfleet.kuma.fleet"

    def __init__(self) -> None:
        super().__init__()
        self._collected: t.Dict[str, t.Tuple[t.Any, output.Collected]] = {}
        self._names: t.Dict[str, str] = {}
        self._retried: t.Set[str] = set()
        self._warned: t.Set[str] = set()
        self._in_step = True
        # A play that is interrupted has no end that is told of.
        self._process = os.getpid()
        atexit.register(self._leave)

    def get_option(self, k: str, *args: t.Any, **kwargs: t.Any) -> t.Any:  # type: ignore[override] # it differs between releases
        if self._display.verbosity < 1 and k in _WITH_MORE_VERBOSITY:
            return False
        return super().get_option(k, *args, **kwargs)

    # Plays and tasks

    def v2_playbook_on_play_start(self, play: t.Any) -> None:
        self._flush()
        self._in_step = not str(play.strategy).endswith(_NOT_IN_STEP)
        # The next batch of hosts has the same tasks.
        self._last_task_banner = None
        super().v2_playbook_on_play_start(play)

    def v2_playbook_on_vars_prompt(self, *args: t.Any, **kwargs: t.Any) -> None:
        self._flush()
        super().v2_playbook_on_vars_prompt(*args, **kwargs)

    def v2_playbook_on_no_hosts_remaining(self) -> None:
        self._flush()
        super().v2_playbook_on_no_hosts_remaining()

    def _task_start(self, task: t.Any, prefix: t.Optional[str] = None) -> None:
        if self._in_step:
            self._flush()
        # The variables that are in a name may be gone when it is printed.
        self._names[task._uuid] = task.get_name().strip()
        super()._task_start(task, prefix)

    @unless_verbose
    def v2_playbook_on_no_hosts_matched(self) -> None:
        """Says nothing."""

    @unless_verbose
    def v2_playbook_on_include(self, included_file: t.Any) -> None:
        """Says nothing."""

    # Results

    @unless_verbose
    def v2_runner_on_ok(self, result: t.Any) -> None:
        self._warn(result)
        if _content(result).get("changed"):
            self._change(result)
        if not _is_loop(result):
            self._say(result)

    @unless_verbose
    def v2_runner_item_on_ok(self, result: t.Any) -> None:
        self._warn(result)
        if _content(result).get("changed"):
            self._change(result)
        self._say(result)

    @unless_verbose
    def v2_runner_on_skipped(self, result: t.Any) -> None:
        self._warn(result)

    @unless_verbose
    def v2_runner_item_on_skipped(self, result: t.Any) -> None:
        self._warn(result)

    def v2_runner_on_failed(self, result: t.Any, ignore_errors: bool = False) -> None:
        _hide(result)
        if self._display.verbosity > 0:
            super().v2_runner_on_failed(result, ignore_errors)
            return
        self._warn(result)
        self._fail(result, output.FAILED, bool(ignore_errors))

    def v2_runner_item_on_failed(self, result: t.Any) -> None:
        _hide(result)
        if self._display.verbosity > 0:
            super().v2_runner_item_on_failed(result)
            return
        self._warn(result)
        kind = output.UNREACHABLE if _content(result).get("unreachable") else output.FAILED
        label = self._get_item_label(_content(result))
        self._of(result).add_item(self._problem(result, kind)._replace(label="" if label is None else str(label)))

    @unless_verbose
    def v2_runner_on_unreachable(self, result: t.Any) -> None:
        self._warn(result)
        self._fail(result, output.UNREACHABLE, bool(_task(result).ignore_unreachable))

    @unless_verbose
    def v2_runner_retry(self, result: t.Any) -> None:
        """One line for a task, which tells why it takes long."""
        task, content = _task(result), _content(result)
        if task._uuid not in self._retried:
            self._retried.add(task._uuid)
            self._open(task)
            left = content["retries"] - content["attempts"]
            self._display.display("retrying: %s is the first, with %d retries left" % (_host(result), left), color=_colour("retried"))

    @unless_verbose
    def v2_runner_on_async_poll(self, result: t.Any) -> None:
        """Says nothing."""

    @unless_verbose
    def v2_runner_on_async_ok(self, result: t.Any) -> None:
        """Says nothing: the result of the task comes as well."""

    @unless_verbose
    def v2_runner_on_async_failed(self, result: t.Any) -> None:
        """Says nothing: the result of the task comes as well."""

    @unless_verbose
    def v2_on_file_diff(self, result: t.Any) -> None:
        """Each file by itself: most are the same on all hosts."""
        content = _content(result)
        for part in content["results"] if _is_loop(result) else [content]:
            if not part.get("diff") or not part.get("changed"):
                continue
            label = self._get_item_label(part)
            for one in part["diff"] if isinstance(part["diff"], list) else [part["diff"]]:
                text = self._get_diff(one).strip("\n")
                if text:
                    saying = output.Saying(output.DIFF, _host(result), text, _where(result), "" if label is None else str(label))
                    self._show(_task(result), self._of(result).add(saying))

    # The end

    @unless_verbose
    def v2_playbook_on_stats(self, stats: t.Any) -> None:
        self._flush()
        self._display.banner("PLAY RECAP")
        for word, line in output.recap({host: stats.summarize(host) for host in stats.processed}):
            self._display.display(line, color=_colour(word))
        self._display.display("", screen_only=True)
        if stats.custom and self.get_option("show_custom_stats"):
            self._print_custom(stats.custom)
        if context.CLIARGS["check"] and self.get_option("check_mode_markers"):
            self._display.banner("DRY RUN")

    def _print_custom(self, custom: t.Mapping[str, t.Any]) -> None:
        self._display.banner("CUSTOM STATS: ")
        for name in sorted(custom, key=lambda name: (name == "_run", name)):
            values = self._dump_results(custom[name], indent=1).replace("\n", "")
            self._display.display("\t%s: %s" % ("RUN" if name == "_run" else name, values))
        self._display.display("", screen_only=True)

    def _leave(self) -> None:
        # Its copies in worker processes have nothing to tell.
        if os.getpid() == self._process:
            self._flush()

    # What is collected

    def _of(self, result: t.Any) -> output.Collected:
        task = _task(result)
        return self._collected.setdefault(task._uuid, (task, output.Collected(eager=not self._in_step)))[1]

    def _change(self, result: t.Any) -> None:
        self._of(result).add(output.Saying(output.CHANGED, _host(result)))

    def _say(self, result: t.Any) -> None:
        content, task = _content(result), _task(result)
        if content.get("_ansible_verbose_always", False) is not True or content.get("_ansible_verbose_override", False) is not False:
            return
        self._clean_results(content, task.action)
        text = reasons.message(content)
        saying = output.Saying(output.MESSAGE, _host(result), self._dumped(content) if text is None else text, _where(result))
        self._show(task, self._of(result).add(saying))

    def _fail(self, result: t.Any, kind: str, ignored: bool) -> None:
        self._show(_task(result), self._of(result).end(self._problem(result, kind), ignored))

    def _problem(self, result: t.Any, kind: str) -> output.Saying:
        text = reasons.failure(_content(result))
        return output.Saying(kind, _host(result), self._dumped(_content(result)) if text is None else text, _where(result))

    def _dumped(self, content: Content) -> str:
        return str(self._dump_results(content)).strip("\n")

    # What is printed

    def _warn(self, result: t.Any) -> None:
        """Print the warnings of a result as the default does, under the name of the task if there is one that was not printed before."""
        content = _content(result)
        new = {str(warning) for warning in content.get("warnings") or []} - self._warned
        if new:
            self._warned |= new
            self._open(_task(result))
        self._handle_warnings(content)

    def _flush(self) -> None:
        """Print what was collected. Its tasks are over."""
        for task, collected in self._collected.values():
            self._show(task, collected.take())
        self._collected.clear()
        self._names.clear()
        self._retried.clear()

    def _show(self, task: t.Any, groups: t.Sequence[output.Group]) -> None:
        # Where hosts are not in step Ansible runs a task on each of them, even if it is to run once.
        named = not (task.run_once and self._in_step)
        for group in groups:
            self._open(task)
            to_stderr = group.kind in output.PROBLEMS and self.get_option("display_failed_stderr")
            # A diff has colours of its own.
            colour = None if group.kind == output.DIFF else _colour(group.kind)
            self._display.display(output.printed(group, named), color=colour, stderr=to_stderr)
        failed = [group.text for group in groups if group.kind == output.FAILED]
        if failed and (self.get_option("show_task_path_on_failure") or any(text.startswith(_BEFORE_THE_TASK) for text in failed)):
            self._print_task_path(task)

    def _open(self, task: t.Any) -> None:
        """Print the name of a task before the first that is printed of it."""
        if self._last_task_banner != task._uuid:
            self._last_task_name = self._names.get(task._uuid)
            self._print_task_banner(task)


def _colour(kind: str) -> str:
    return str(getattr(C, _COLOURS[kind]))


def _attribute(result: t.Any, name: str) -> t.Any:
    """What ansible-core 2.18 has with an underscore before its name, and later ones without."""
    return getattr(result, name) if hasattr(result, name) else getattr(result, "_" + name)


def _task(result: t.Any) -> t.Any:
    return _attribute(result, "task")


def _content(result: t.Any) -> Content:
    content: Content = _attribute(result, "result")
    return content


def _host(result: t.Any) -> str:
    return str(_attribute(result, "host").get_name())


def _where(result: t.Any) -> str:
    delegate = _task(result).delegate_to
    return " -> %s" % delegate if delegate and delegate != _host(result) else ""


def _is_loop(result: t.Any) -> bool:
    return bool(_task(result).loop) and "results" in _content(result)


def _hide(result: t.Any) -> None:
    """Leave out what nobody reads, and what nobody may: some releases print why a task failed in spite of its ``no_log``."""
    content = _content(result)
    content.pop("argument_spec_data", None)
    if "censored" in content:
        content.pop("exception", None)
