# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What the result of a task says to somebody who reads it, as text. Pure; it runs on the controller only."""

from __future__ import annotations

import shlex
import typing as t

from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play.output import indented

Content = t.Mapping[str, t.Any]

_STREAMS = ("stdout", "stderr", "module_stdout", "module_stderr")
# What ansible.builtin.assert says when it was not told what to say.
_BARE_ASSERTION = "Assertion failed"
# What ansible-core 2.19 and later have in place of a traceback that nobody asked for.
_NO_TRACEBACK = "(traceback unavailable)"


def message(content: Content) -> t.Optional[str]:
    """What a result has to say that is no failure. None: only all of it would tell."""
    if "msg" in content:
        return _text(content["msg"])
    # What debug was asked for by its name; the keys of Ansible's own begin with an underscore.
    named = {name: value for name, value in content.items() if not name.startswith("_") and name not in ("warnings", "deprecations")}
    if len(named) != 1:
        return None
    ((name, value),) = named.items()
    text = _text(value)
    if text is None:
        return None
    return "%s:\n%s" % (name, indented(text)) if isinstance(value, list) else "%s: %s" % (name, text)


def failure(content: Content) -> t.Optional[str]:
    """Why a task failed. None: only all of the result would tell."""
    if "censored" in content:
        return str(content["censored"])
    told = _text(content.get("msg", content.get("reason", "")))
    command = "cmd" in content or "rc" in content
    # A condition of the playbook judged the result, so the reason may be anywhere in it.
    if told is None or (content.get("failed_when_result") and not command):
        return None
    lines = [told] if told else []
    lines += [str(error) for error in content.get("argument_errors") or [] if str(error) not in told]
    if told == _BARE_ASSERTION and "assertion" in content:
        lines.append("assertion: %s" % content["assertion"])
    if command:
        lines += _of_command(content)
    lines += ["%s:\n%s" % (name, indented(text)) for name, text in _streams(content) if text not in told]
    return "\n".join(lines + _exception(content, lines)) or None


def _text(value: t.Any) -> t.Optional[str]:
    """A text, or a list of texts as lines. None for what has a structure."""
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "\n".join(value)
    return None if value is None or isinstance(value, (dict, list)) else str(value).rstrip("\n")


def _of_command(content: Content) -> t.List[str]:
    command = content.get("cmd")
    values = {
        "rc": content.get("rc"),
        "cmd": shlex.join(map(str, command)) if isinstance(command, list) else command,
        "failed_when_result": content.get("failed_when_result"),
    }
    return ["%s: %s" % (name, value) for name, value in values.items() if value is not None]


def _streams(content: Content) -> t.Iterator[t.Tuple[str, str]]:
    for name in _STREAMS:
        text = str(content.get(name) or "").strip("\n")
        if text.strip():
            yield name, text


def _exception(content: Content, said: t.Sequence[str]) -> t.List[str]:
    """The last line of a traceback, unless it is said already."""
    lines = str(content.get("exception") or "").strip().splitlines()
    if not lines or lines[-1] == _NO_TRACEBACK or any(lines[-1].strip() in one for one in said):
        return []
    return ["exception: %s (-vvv shows where)" % lines[-1].strip()]
