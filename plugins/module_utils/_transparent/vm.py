# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""The rules of transparent proxying on a VM: applied, confirmed, undone.

New settings stay below /run, with a timer beside them that undoes them, until a new connection has confirmed them. So a VM that is
locked out, or rebooted meanwhile, is as it was. Standard library only: it also runs outside of modules.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._transparent import redirection
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import safely
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.commands import Runner
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.systemd import TRANSPARENT_DROP_IN

UNIT = "kuma-transparent-proxy.service"
ROLLBACK = "kuma-transparent-proxy-rollback"
# Trap 48: the kernel did not track what was open before the first rule, so the next packet of each such connection counts as its first. One that
# does not begin a connection is left alone, however long the connection was idle.
SPARED = ("-p", "tcp", "!", "--syn", "-m", "comment", "--comment", "kuma-transparent-proxy/connections from before", "-j", "ACCEPT")
SPARED_IN = ("PREROUTING", "OUTPUT")
# What the role lays down, below the root directory.
UNIT_PATH = "etc/systemd/system/kuma-transparent-proxy.service"
PROGRAM_DIR = "usr/local/lib/kuma-transparent-proxy"
# What 0.1.0 laid down in one folder.
OLD_SOURCES = tuple(
    PROGRAM_DIR + "/ansible_collections/meshfleet/kuma/plugins/module_utils/%s.py" % name for name in ("_transparent", "_transparent_vm")
)
_RESOLV_BACKUP = "etc/resolv.conf.kuma-backup"


class Failed(Exception):
    """What could not be done, as a sentence."""


class Vm:
    """One VM. ``root`` is the directory that its paths are below, ``run`` runs commands, ``say`` writes to the journal."""

    def __init__(
        self, run: Runner, say: t.Callable[[str], None] = lambda _text: None, root: str = "/", sleep: t.Callable[[float], None] = time.sleep
    ) -> None:
        self.run, self.say, self.root, self.sleep = run, say, root, sleep

    def path(self, *parts: str) -> str:
        return os.path.join(self.root, *parts)

    @property
    def settings_path(self) -> str:
        return self.path("etc/kuma-transparent-proxy/settings.json")

    @property
    def pending_path(self) -> str:
        return self.path("run/kuma-transparent-proxy/pending.json")

    @property
    def rules_path(self) -> str:
        return self.path("run/kuma-transparent-proxy/rules.json")

    @contextlib.contextmanager
    def locked(self) -> t.Iterator[None]:
        directory = self.path("run/kuma-transparent-proxy")
        os.makedirs(directory, mode=0o755, exist_ok=True)
        with safely.locked(os.path.join(directory, "lock")):
            yield

    def held(self) -> t.Optional[redirection.Settings]:
        """The settings that were confirmed; None when there are none."""
        return t.cast(t.Optional[redirection.Settings], _read(self.settings_path))

    def pending(self) -> t.Optional[t.Dict[str, t.Any]]:
        """``{settings, connection, applied}`` of what waits to be confirmed; None when nothing does."""
        return t.cast(t.Optional[t.Dict[str, t.Any]], _read(self.pending_path))

    def rules(self) -> redirection.Rules:
        """kumactl's rules that are there, by family."""
        found: redirection.Rules = {}
        for family, tool in redirection.FAMILIES.items():
            lines = redirection.rules_of(self.run([tool + "-save"])[1])
            if lines:
                found[family] = lines
        return found

    def expected(self) -> redirection.Rules:
        """The rules as they were after the boot unit had applied them."""
        return t.cast(redirection.Rules, _read(self.rules_path) or {})

    def apply(self) -> None:
        """Apply what is pending, else what is held. Raises Failed."""
        with self.locked():
            pending = self.pending()
            settings = pending["settings"] if pending else self.held()
            if settings is None:
                raise Failed("there are no settings in %s" % self.settings_path)
            # At boot there is no connection to be spared.
            if pending:
                self._spare(settings)
            status, output, error = self.run(redirection.install_command(settings))
            if status:
                raise Failed("kumactl install transparent-proxy ended with %d: %s" % (status, (error or output).strip()))
            rules = self.rules()
            if not rules:
                raise Failed("kumactl ended well, but iptables-save shows no rule of its chains (%s)" % redirection.CHAIN)
            write(self.rules_path, rules)
            if pending:
                write(self.pending_path, dict(pending, applied=True))
            self.say("applied %d rules" % sum(map(len, rules.values())))

    def _spare(self, settings: redirection.Settings) -> None:
        """Leave connections alone that are open, for as long as there are rules. What kumactl puts in front of it redirects none but those of ``vnet``."""
        for family, tool in redirection.FAMILIES.items():
            if family == "ipv6" and "ipv4" in settings["arguments"]:
                continue
            for chain in SPARED_IN:
                if self.run([tool, "-w", "-t", "nat", "-C", chain, *SPARED])[0]:
                    self.run([tool, "-w", "-t", "nat", "-I", chain, *SPARED])

    def _spare_no_more(self) -> None:
        for tool in redirection.FAMILIES.values():
            for chain in SPARED_IN:
                self.run([tool, "-w", "-t", "nat", "-D", chain, *SPARED])

    def remove(self) -> None:
        """Take all rules away. Raises Failed when some are left."""
        with self.locked():
            pending = self.pending()
            settings = (pending["settings"] if pending else None) or self.held()
            self._set_backup_aside()
            if self.rules() and settings:
                status, output, error = self.run(redirection.uninstall_command(settings))
                if status:
                    self.say("kumactl uninstall transparent-proxy ended with %d: %s" % (status, (error or output).strip()))
            left = self.rules()
            for command in redirection.removals(left):
                self.run(command)
            left = self.rules()
            if left:
                raise Failed("these rules could not be removed: %s" % "; ".join(line for lines in left.values() for line in lines))
            self._spare_no_more()
            remove(self.rules_path)

    def _set_backup_aside(self) -> None:
        # An old kumactl left it there; uninstall would write it over /etc/resolv.conf (trap 48).
        backup = self.path(_RESOLV_BACKUP)
        if safely.exists(backup):
            try:
                safely.move(backup, backup + ".old")
                self.say("renamed %s, or it would be written over /etc/resolv.conf" % backup)
            except OSError as exc:
                # Where the unit runs, /etc is read-only for uninstall as well; `order` renames it before that.
                self.say("%s could not be renamed: %s" % (backup, exc))

    def order(
        self, settings: redirection.Settings, connection: t.Optional[t.Dict[str, t.Any]], timeout: int, program: t.Sequence[str]
    ) -> None:
        """Arm the rollback, then have the boot unit apply these settings. Raises Failed; nothing is applied then."""
        self.run(["systemctl", "stop", ROLLBACK + ".timer", ROLLBACK + ".service"])
        self.run(["systemctl", "reset-failed", ROLLBACK + ".timer", ROLLBACK + ".service"])
        with self.locked():
            self._set_backup_aside()
            write(self.pending_path, {"settings": settings, "connection": connection, "applied": False})
        timer = ["systemd-run", "--quiet", "--collect", "--unit=" + ROLLBACK, "--on-active=%ds" % timeout]
        status, output, error = self.run([*timer, "--timer-property=AccuracySec=500ms", *program, "rollback"])
        if status:
            remove(self.pending_path)
            raise Failed("the rollback could not be armed, so nothing was applied: %s" % (error or output).strip())
        status, output, error = self.run(["systemctl", "reload-or-restart", "--no-block", UNIT])
        if status:
            self.rollback()
            raise Failed("%s was not started: %s" % (UNIT, (error or output).strip()))

    def unit(self) -> t.Dict[str, str]:
        """``ActiveState``, ``UnitFileState`` and ``Job`` of the boot unit."""
        shown = self.run(["systemctl", "show", "--property=ActiveState,UnitFileState,Job", UNIT])[1]
        return dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)

    def wait_applied(self, timeout: float, pulse: t.Callable[[], None]) -> None:
        """Until the boot unit has applied what is pending. ``pulse`` is called often: it keeps the connection in use.

        Raises Failed with the unit's last lines, after the rollback when there is still something to undo.
        """
        end = time.monotonic() + timeout
        while True:
            unit = self.unit()
            pending = self.pending()
            if pending is None:
                raise Failed("the rules were undone while the boot unit applied them")
            busy = int(unit.get("Job") or 0) or unit.get("ActiveState") in ("activating", "reloading", "deactivating")
            if pending["applied"] and not busy:
                return
            if not busy or time.monotonic() >= end:
                break
            pulse()
            self.sleep(0.2)
        log = self.run(["journalctl", "--unit=" + UNIT, "--lines=6", "--output=cat", "--no-pager"])[1].strip()
        self.rollback()
        raise Failed("%s is %s, and everything was undone: %s" % (UNIT, unit.get("ActiveState"), log))

    def confirm(self, connection: t.Optional[t.Dict[str, t.Any]]) -> None:
        """Keep what is pending and disarm the rollback. Raises Failed; everything is undone then, now or already."""
        with self.locked():
            pending = self.pending()
            if pending is None:
                raise Failed("no new connection came in time to confirm them")
            objection = redirection.objection(pending["connection"], connection)
            if not objection:
                gone = redirection.vanished(self.expected(), self.rules())
                objection = "the rules are not those that were applied: %s" % "; ".join(gone) if gone else ""
            if not objection:
                write(self.settings_path, pending["settings"])
                remove(self.pending_path)
        if objection:
            self.rollback()
            raise Failed(objection)
        self.run(["systemctl", "stop", ROLLBACK + ".timer"])
        status, output, error = self.run(["systemctl", "enable", UNIT])
        if status:
            raise Failed("%s was not enabled, so the rules are gone after a reboot: %s" % (UNIT, (error or output).strip()))

    def rollback(self) -> None:
        """Undo what is pending: back to the settings that were confirmed before, or to no rules at all. Raises Failed."""
        with self.locked():
            pending = self.pending()
            if pending is None:
                self.say("nothing waits to be confirmed")
                return
            held = self.held()
            if held is None:
                # Uninstalling needs the path of kumactl, which is what the file tells.
                write(self.settings_path, pending["settings"])
            remove(self.pending_path)
        self.say("nobody confirmed the rules: undoing them")
        try:
            self.remove()
        finally:
            if held is None:
                self.forget()
            else:
                self.run(["systemctl", "reload-or-restart", UNIT])

    def forget(self) -> None:
        """Stop and disable the boot unit and remove everything that was laid down for it."""
        self.run(["systemctl", "disable", "--now", UNIT])
        self.run(["systemctl", "reset-failed", UNIT])
        for path in self.laid_down():
            safely.remove_tree(path)
        with contextlib.suppress(OSError):
            safely.remove_directory(os.path.dirname(self.path(TRANSPARENT_DROP_IN)))
        self.run(["systemctl", "daemon-reload"])

    def laid_down(self) -> t.List[str]:
        """What is there of it."""
        paths = [os.path.dirname(self.settings_path), self.path(UNIT_PATH), self.path(TRANSPARENT_DROP_IN), self.path(PROGRAM_DIR)]
        return [path for path in paths if safely.exists(path)]


def _read(path: str) -> t.Any:
    try:
        return json.loads(safely.read(path, own=True))
    except (OSError, ValueError, RecursionError):
        return None


def write(path: str, value: t.Any) -> None:
    """Replace a file atomically."""
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    safely.write(path, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode("utf-8"), 0o644)


def remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        safely.remove(path)
