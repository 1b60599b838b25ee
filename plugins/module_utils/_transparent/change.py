# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Transparent proxying as the module transparent_proxy wants it: what differs on the VM, why, and how it gets there."""

from __future__ import annotations

import os
import pwd
import sys
import time
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ModuleFailed, Result
from ansible_collections.meshfleet.kuma.plugins.module_utils._transparent import redirection
from ansible_collections.meshfleet.kuma.plugins.module_utils._transparent import vm as transparent_vm
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import files as vm_files
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import host, showing

Params = t.Mapping[str, t.Any]
Connection = t.Optional[t.Dict[str, t.Any]]
_POLL = 0.25
# The unit itself has a minute; see its TimeoutStartSec.
_APPLY_TIMEOUT = 75.0


class Change:
    """One run of the module on a VM. ``diff`` says whether the caller wants one."""

    def __init__(self, params: Params, vm: transparent_vm.Vm, check_mode: bool, diff: bool) -> None:
        self.params, self.vm, self.check_mode, self.diff = params, vm, check_mode, diff
        self.connection: Connection = redirection.ssh_connection(_environments(host.Processes()))

    def confirmed(self) -> Result:
        """Keep what waits to be confirmed, which this new connection proves to be safe."""
        if not self.check_mode:
            self.vm.confirm(self.connection)
        return {"changed": False, "ordered": False}

    def absent(self) -> Result:
        """Take away rules, unit and files."""
        removed, rules = self.vm.laid_down(), self.vm.rules()
        result: Result = {"changed": bool(removed or rules), "ordered": False, "removed": removed}
        if self.diff and rules:
            result["diff"] = {"before_header": "rules that are there", "after_header": "no rules", "before": _listing(rules), "after": ""}
        if result["changed"] and not self.check_mode:
            transparent_vm.remove(self.vm.pending_path)
            self.vm.remove()
            self.vm.forget()
        return result

    def present(self) -> Result:
        """Have the rules applied where they differ. Raises ModuleFailed, and Failed or WriteFailed of what it calls."""
        changes = self._checked()
        wanted = self._wanted()
        held, rules = self.vm.held(), self.vm.rules()
        reasons = self._reasons(held, rules, wanted)
        result: Result = {"changed": bool(reasons or changes), "ordered": False, "reasons": reasons, "arguments": wanted["arguments"]}
        if self.diff:
            result["diff"] = showing.diff(changes) + ([self._rules_diff(held, rules, wanted)] if reasons else [])
        if not self.check_mode and result["changed"]:
            self._carry_out(changes, wanted if reasons else None)
            result["ordered"] = bool(reasons)
        return result

    def _carry_out(self, changes: t.Sequence[vm_files.Change], wanted: t.Optional[redirection.Settings]) -> None:
        if wanted:
            _wait_for_envoy(self.params)
        fresh = not self.vm.laid_down()
        vm_files.apply(changes)
        if changes:
            self.vm.run(["systemctl", "daemon-reload"])
        if wanted:
            try:
                self.vm.order(wanted, self.connection, self.params["rollback_timeout"], self.params["program"])
            except transparent_vm.Failed:
                if fresh:
                    self.vm.forget()
                raise
            self.vm.wait_applied(_APPLY_TIMEOUT, _pulse)

    def _checked(self) -> t.List[vm_files.Change]:
        """What differs among the files, when nothing speaks against the options."""
        params = self.params
        problems = redirection.problems(params)
        files: t.Dict[str, t.List[t.Dict[str, t.Any]]] = {
            "directories": [{"path": path, "mode": "0755", "owner": "root", "group": "root"} for path in params["directories"]],
            "files": [dict(item, mode="0644", owner="root", group="root") for item in params["files"]],
        }
        changes: t.List[vm_files.Change] = []
        try:
            old = [vm_files.Wish("absent", self.vm.path(path)) for path in transparent_vm.OLD_SOURCES]
            changes = vm_files.plan([*vm_files.wishes_of(dict(files, secrets=[], links=[])), *old], self.check_mode)
        except vm_files.Problems as exc:
            problems.extend(exc.problems)
        problems.extend(self._vm_problems())
        if problems:
            raise ModuleFailed("Nothing was done: %s" % "; ".join(problems), {"problems": problems})
        return changes

    def _vm_problems(self) -> t.List[str]:
        user = self.params["user"]
        problems = [
            "there is no %s on this VM, expected the package iptables" % tool
            for tool in ("iptables", "iptables-save", "iptables-restore")
            if self.vm.run([tool, "--version"])[0] == 127
        ]
        # An earlier task makes the user, which has not happened in check mode.
        if not self.check_mode and not _is_user(pwd.getpwnam, user):
            problems.append("user is %s, expected a user of this VM" % user)
        elif user != redirection.OWNER_NAME and not _is_user(pwd.getpwuid, redirection.OWNER_UID):
            problems.append(
                "user is %s, expected %s, or UID %d to exist: `kumactl uninstall transparent-proxy` looks for one of the two and fails "
                "without" % (user, redirection.OWNER_NAME, redirection.OWNER_UID)
            )
        if self.vm.pending() is not None and not self.check_mode:
            problems.append(
                "other rules wait to be confirmed, expected no second run at the same time: they are undone soon, try again then"
            )
        return problems

    def _wanted(self) -> redirection.Settings:
        ports, controllers = set(), []
        if self.connection:
            ports.add(self.connection["port"])
            if self.params["exclude_controller"]:
                controllers.append(self.connection["client"])
        if self.params["ansible_port"]:
            ports.add(self.params["ansible_port"])
        others = {*self.params["members"], *redirection.PASSTHROUGH}
        return redirection.settings(self.params, ports, [address for address in controllers if address not in others])

    def _reasons(self, held: t.Optional[redirection.Settings], rules: redirection.Rules, wanted: redirection.Settings) -> t.List[str]:
        if held is None:
            return ["no rules were applied before"]
        if not redirection.same(held, wanted, self.params["exclude_controller"]):
            return ["the options differ from those that were applied"]
        reasons = redirection.vanished(self.vm.expected(), rules)
        if not rules and not reasons:
            reasons = ["there are no rules"]
        unit = self.vm.unit()
        if unit.get("ActiveState") != "active":
            reasons.append("%s is %s" % (transparent_vm.UNIT, unit.get("ActiveState") or "unknown"))
        if unit.get("UnitFileState") != "enabled":
            reasons.append("%s is not enabled" % transparent_vm.UNIT)
        return reasons

    def _rules_diff(
        self, held: t.Optional[redirection.Settings], rules: redirection.Rules, wanted: redirection.Settings
    ) -> t.Dict[str, str]:
        after = self._dry_run(wanted)
        before = ""
        if rules and held:
            before = self._dry_run(held)
            if before == after:
                before, after = _listing(rules), _listing(self.vm.expected())
        return {"before_header": "rules that are there", "after_header": "rules that are to be", "before": before, "after": after}

    def _dry_run(self, settings: redirection.Settings) -> str:
        status, output, error = self.vm.run(redirection.install_command(settings, dry_run=True))
        if status == 0:
            return str(output).strip() + "\n"
        command = " ".join(redirection.install_command(settings))
        return "# what kumactl makes of this is not known yet: %s\n%s\n" % ((error or output).strip().split("\n")[0], command)


def _environments(processes: host.Processes) -> t.Iterator[t.Mapping[str, str]]:
    yield os.environ
    pid = processes.parent(os.getpid())
    while pid > 1:
        yield processes.environment(pid)
        pid = processes.parent(pid)


def _pulse() -> None:
    """Send something. A connection that is silent while connections begin to be tracked would be redirected afterwards."""
    sys.stdout.write("\n")
    sys.stdout.flush()


def _is_user(find: t.Callable[[t.Any], t.Any], key: t.Any) -> bool:
    try:
        find(key)
    except KeyError:
        return False
    return True


def _listing(rules: redirection.Rules) -> str:
    return "".join("%s: %s\n" % (family, line) for family, lines in sorted(rules.items()) for line in lines)


def _wait_for_envoy(params: Params) -> None:
    """Connections that are redirected to nobody are refused."""
    ports = {params["redirect_outbound_port"]} | ({params["redirect_inbound_port"]} if params["redirect_inbound"] else set())
    end = time.monotonic() + params["ready_timeout"]
    while True:
        missing = ports - {socket["port"] for socket in host.Processes().listening()}
        if not missing:
            return
        if time.monotonic() >= end:
            raise ModuleFailed(
                "No rule was applied: after %g s nobody listens on port %s, expected Envoy, for connections would be redirected to nobody. "
                "Look at the proxy, and at networking.transparentProxying of its Dataplane"
                % (params["ready_timeout"], ", ".join(map(str, sorted(missing))))
            )
        time.sleep(_POLL)
