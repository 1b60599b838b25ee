# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action behind meshfleet.kuma.rollout, whose documentation is in plugins/modules/rollout.py.

It runs inside the worker process of the controller, so a host that waits costs no process start.
"""

from __future__ import annotations

import os
import typing as t
from contextlib import closing

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.utils.display import Display

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import REQUESTS_IMPORT_ERROR, ApiError, Client
from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._module.api import api_argument_spec, check_names, missing_requests, new_client
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens import issue
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens.ledger import Ledger
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import action, controller, issuing, options, rolling
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import finish, lock, restarting, run, settings, start
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import host as roll_host
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import journal as roll_journal
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll.report import document

Result = t.Dict[str, t.Any]

STATES = ["start", "admit", "restart", "problem", "complete", "put_back", "finish", "status", "abort"]
ARGUMENTS: t.Dict[str, t.Dict[str, t.Any]] = {
    "state": {"type": "str", "required": True, "choices": STATES},
    "mesh": {"type": "str", "default": "default"},
    "kind": {"type": "str", "default": "restart", "choices": list(settings.KINDS)},
    "hosts": {"type": "list", "elements": "dict"},
    "settings": {"type": "dict", "default": {}},
    "resume": {"type": "str", "default": "auto", "choices": ["auto", "never"]},
    "run": {"type": "str"},
    "run_dir": {"type": "path"},
    "host": {"type": "str"},
    "names": {"type": "list", "elements": "str", "default": []},
    "request": {"type": "str"},
    "restart": {"type": "dict", "default": {}},
    "result": {"type": "dict"},
    "reason": {"type": "str", "default": "asked for"},
    "ledger": {"type": "path"},
}
REQUIRED = [("state", "status", ["run"]), ("state", "abort", ["run"])]
NAMES = {
    "mesh": naming.LOOSE,
    "run": naming.RUN,
    "run_dir": naming.PLACE,
    "ca_path": naming.PLACE,
    "names[]": naming.PROXY,
    "request": naming.RUN,
}


class ActionModule(action.RoleAction):
    """One call of ``state``; refusals of a host are results, not failures.

    A task that names neither the hosts nor the run is one of role kuma_roll. What it does not say is read from the options of role kuma_dp
    and from what earlier tasks of the play run registered.
    """

    _requires_connection = False

    def run(self, tmp: t.Optional[str] = None, task_vars: t.Optional[Result] = None) -> Result:
        result: Result = super().run(tmp, task_vars)
        self.prepare(task_vars)
        api = api_argument_spec()
        spec = {**api, "url": {**api["url"], "required": False}, **ARGUMENTS}
        _validation, params = self.validate_argument_spec(spec, required_if=REQUIRED)  # type: ignore[no-untyped-call]
        if REQUESTS_IMPORT_ERROR is not None:
            raise AnsibleActionFail(missing_requests())
        self.host = params["host"] or self.host
        self.by_role = params["hosts"] is None and params["run"] is None
        try:
            if self.by_role:
                params = {**params, **self._told(params["state"])}
            result.update(self._do(params))
        except ApiError as error:
            result.update(failed=True, msg=str(error), failure=error.as_failure())
        except (
            start.Refused,
            lock.Taken,
            roll_journal.NoRun,
            run.Stopped,
            controller.Missing,
            action.Unset,
            ItemsFailed,
            ValueError,
        ) as error:
            result.update(failed=True, msg=str(error))
        return result

    def _do(self, params: Result) -> Result:
        # A run is empty where nothing was begun.
        check_names(dict(params, run=params["run"] or None), NAMES)
        self.directory = params["run_dir"] or roll_journal.default_dir()
        state = getattr(self, f"_{params['state']}")
        if params["state"] in ("problem", "status", "abort"):
            return t.cast(Result, state(params))
        if not params["url"]:
            raise ValueError("missing required arguments: url")
        with closing(new_client(params)) as client:
            return t.cast(Result, state(client, params))

    # -- what a task of role kuma_roll means

    def _told(self, state: str) -> Result:
        if state == "problem":
            return {}
        found: Result = self._told_at_the_start() if state == "start" else {"run": self._begun()}
        found.update(self.api(), run_dir=os.path.expanduser(str(self.value("kuma_dp_roll_dir"))))
        if state in ("restart", "put_back"):
            found["restart"] = self.read(rolling.RESTART)
        if state == "restart":
            found["restart"]["gates"] = rolling.gates(self.variables)
        if state in ("complete", "put_back"):
            found["result"] = rolling.outcome(self.variables)
        return {option: value for option, value in found.items() if option not in self._task.args}

    def _told_at_the_start(self) -> Result:
        hosts = self._fleet().hosts()
        told = self.read(options.ROLL)
        for option in ("kind", "resume"):
            choices = ARGUMENTS[option]["choices"]
            if told[option] not in choices:
                raise ValueError(f"kuma_dp_roll_{option} is {told[option]!r}, expected one of {', '.join(choices)}")
        for key, hook in rolling.HOOKS.items():
            if told[key] and self._find(told[key]) is None:
                raise controller.Missing(
                    f"{hook.variable} is {told[key]}, expected a file with tasks on the controller that exists; "
                    f"relative paths count from {', '.join(self.search_dirs())}"
                )
        given = {option: told[option] for option in ("kind", "resume")}
        return {**given, "mesh": str(self.value("kuma_dp_mesh")), "hosts": hosts, "settings": rolling.settings(told)}

    def _fleet(self) -> rolling.Fleet:
        mesh, zone = (self.variables["groups"].get(name, []) for name in (rolling.JOINED, rolling.ZONE_JOINED))
        if not mesh and not zone:
            raise ValueError("hosts is missing, and no host has joined in this play run")
        return rolling.Fleet(mesh, zone, set(self.in_play), self.variables["hostvars"].raw_get, self.known)

    def _begun(self) -> str:
        if rolling.PLAN not in self.variables:
            raise ValueError("run is missing, and no roll was begun in this play run")
        return str(self.variables[rolling.PLAN].get("run") or "")

    def _turned_away(self) -> t.Optional[Result]:
        return rolling.turned_away(self.variables) if self.by_role else None

    def _find(self, hook: str) -> t.Optional[str]:
        return controller.find(str(hook), self.search_dirs())

    # -- states

    def _start(self, client: Client, params: Result) -> Result:
        settings.check_hosts(params["hosts"] or [])
        wish = start.Wish(
            mesh=params["mesh"],
            kind=params["kind"],
            hosts=params["hosts"],
            settings=settings.read(params["settings"]),
            directory=os.path.join(self.directory, params["mesh"]),
            resume=params["resume"] == "auto",
            check=self.check,
            pid=os.getppid(),
            offline=issue.PATH in self._issuer(client, params).signers,
        )
        starter = start.Starter(client, wish)
        result = starter.start()
        if self.by_role:
            forks, size = int(self.variables["ansible_forks"]), len(result["order"])
            result["plan"] += rolling.few_forks(forks, wish.settings.max_in_flight, size, options.ROLL["max_in_flight"].variable)
        return dict(result, requests=client.requests, warnings=[*client.warnings, *starter.warnings])

    def _admit(self, client: Client, params: Result) -> Result:
        if self.check:
            return {"changed": False, "admitted": False, "outcome": "refused", "reason": "check mode", "proxies": []}
        try:
            answer = self._host(client, params).admit()
        except run.Stopped as stopped:
            answer = roll_host.Answer("refused", str(stopped))
        admitted = answer.outcome == "admitted"
        if answer.outcome in ("refused", "deferred"):
            self._say(params)
        return {
            "changed": admitted,
            "admitted": admitted,
            "outcome": answer.outcome,
            "reason": answer.reason,
            "proxies": list(answer.proxies),
            **self._hooks(admitted),
        }

    def _hooks(self, admitted: bool) -> Result:
        """Which tasks of role kuma_roll a host goes through, and the files with those of the user; where nothing is done, none are."""
        hooks = {key: (self._find(hook) or str(hook)) if hook and admitted else "" for key, hook in self.read(rolling.HOOKS).items()}
        return {"tasks": "hooked" if any(hooks.values()) else "restart", **hooks}

    def _restart(self, client: Client, params: Result) -> Result:
        """What proxy_restart returns on this host, one proxy after the other: a token is made when its restart begins."""
        if self.check:
            return {"changed": False, "skipped": True}
        if self._turned_away():
            return {"changed": False}
        if params["request"]:
            proxies = [{"name": name, "request": params["request"]} for name in params["names"]]
            return self._on_vm({**params["restart"], "proxies": proxies})
        host = self._host(client, params)
        moving = rolling.moving(self.variables) if self.by_role else {}

        def hand_over(name: str) -> str:
            return restarting.hand_over(client, host.roll.mesh, str(self.value("kuma_dp_initial_state")), moving[name])

        vm, covers = restarting.Vm(self._on_vm, self.forget), restarting.Covers(host.cover, host.note_token)
        return restarting.Restart(vm, covers, params["restart"], moving, hand_over).restart(host.wishes(params["names"]))

    def _on_vm(self, arguments: Result) -> Result:
        """The result of proxy_restart. What is known of a host that gets unreachable in the middle is not to be lost."""
        try:
            found: Result = self._execute_module(
                module_name="meshfleet.kuma.proxy_restart", module_args=arguments, task_vars=self.variables
            )
        except AnsibleConnectionFailure as error:
            return {"changed": False, "unreachable": True, "msg": str(error)}
        return found

    def _problem(self, _params: Result) -> Result:
        return {"changed": False, "msg": rolling.problem(self.variables)}

    def _complete(self, client: Client, params: Result) -> Result:
        if self.check:
            return {"changed": False, "outcome": "skipped", "reason": "check mode"}
        away = self._turned_away()
        if away:
            return {"changed": False, "outcome": away["outcome"], "reason": away["reason"]}
        if params["result"] is None:
            raise ValueError("state is complete but all of the following are missing: result")
        try:
            answer = self._host(client, params).complete(params["result"])
        except (ApiError, run.Stopped) as error:
            return {"changed": False, "outcome": "failed", "reason": str(error)}
        self._say(params)
        return {"changed": answer.outcome == "done", "outcome": answer.outcome, "reason": answer.reason}

    def _put_back(self, client: Client, params: Result) -> Result:
        """Never a failure: the host has failed already, and the report names it."""
        names = rolling.renewed(params["result"] or {})
        if self.check or not names or self._turned_away():
            return {"changed": False}
        host = self._host(client, params)
        if not host.failed_with_an_upgrade():
            return {"changed": False}
        vm, covers = restarting.Vm(self._on_vm, self.forget), restarting.Covers(host.cover, host.note_token)
        try:
            found = restarting.Restart(vm, covers, {**params["restart"], "restore": True}).restart(host.wishes(names))
        except run.Stopped as stopped:
            found = {"failed": True, "msg": str(stopped)}
        return {"changed": bool(found.get("changed")), "msg": rolling.put_back(self.host, found), "_ansible_verbose_always": True}

    def _finish(self, client: Client, params: Result) -> Result:
        if self.check or not params["run"]:
            # Nothing was to be rolled, so no run was begun.
            return {"changed": False}
        result = finish.Finish(run.open_run(self.directory, params["run"], client)).finish()
        return dict(result, requests=client.requests, warnings=client.warnings)

    def _status(self, params: Result) -> Result:
        return finish.status(roll_journal.find(self.directory, params["run"]))

    def _abort(self, params: Result) -> Result:
        journal = roll_journal.find(self.directory, params["run"])
        if self.check:
            return {"changed": not journal.head()["abort"]}
        return {"changed": finish.abort(journal, params["reason"]), "run": journal.run}

    def _host(self, client: Client, params: Result) -> roll_host.Host:
        return roll_host.Host(run.open_run(self.directory, params["run"], client, self._issuer(client, params)), self.host)

    def _issuer(self, client: Client, params: Result) -> issue.Issuer:
        """Who makes the tokens of covers; the key that the controller may have for that is one of the role alone."""
        if self.by_role:
            return issuing.Issuing(self.read(options.ISSUING), self.search_dirs()).issuer(client)
        return issue.Issuer(client, ledger=Ledger(params["ledger"]) if params["ledger"] else None)

    def _say(self, params: Result) -> None:
        """One line about the host. The journal of one host is enough for it, and the same in a fleet of any size."""
        journal = roll_journal.find(self.directory, params["run"])
        record = journal.record(self.host)
        if record is None:
            return
        line = document.progress({"hosts": {self.host: record}}, self.host)
        state = journal.head()["state"]
        width = len(str(state["size"]))
        Display().display(f"[{state['finished']:>{width}}/{state['size']}] {line.partition('] ')[2] or line}")
