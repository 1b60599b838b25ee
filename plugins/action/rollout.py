# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action behind meshfleet.kuma.rollout, whose documentation is in plugins/modules/rollout.py.

It runs inside the worker process of the controller, so a host that waits costs no process start.
"""

from __future__ import annotations

import os
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.module_utils.basic import missing_required_lib
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import REQUESTS_IMPORT_ERROR, ApiError, Client
from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.times import parse_seconds
from ansible_collections.meshfleet.kuma.plugins.module_utils._module.api import api_argument_spec, check_names, new_client
from ansible_collections.meshfleet.kuma.plugins.module_utils._restart import order, steps
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import finish, lock, plan, run, settings, start
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import host as roll_host
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll import journal as roll_journal
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._roll.report import document

Result = t.Dict[str, t.Any]

ARGUMENTS: t.Dict[str, t.Dict[str, t.Any]] = {
    "state": {"type": "str", "required": True, "choices": ["start", "admit", "restart", "complete", "finish", "status", "abort"]},
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
}
REQUIRED = [
    ("state", "start", ["hosts"]),
    *(("state", state, ["run"]) for state in ("admit", "restart", "complete", "finish", "status", "abort")),
    ("state", "complete", ["result"]),
]


class ActionModule(ActionBase):
    """One call of ``state``; refusals of a host are results, not failures."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False
    _requires_connection = False

    def run(self, tmp: t.Optional[str] = None, task_vars: t.Optional[t.Dict[str, t.Any]] = None) -> Result:
        result: Result = super().run(tmp, task_vars)
        _validation, params = self.validate_argument_spec({**api_argument_spec(), **ARGUMENTS}, required_if=REQUIRED)
        if REQUESTS_IMPORT_ERROR is not None:
            raise AnsibleActionFail(missing_required_lib("requests"))
        self.variables = task_vars or {}
        self.host = params["host"] or str(self.variables.get("inventory_hostname"))
        self.directory = params["run_dir"] or roll_journal.default_dir()
        client: t.Optional[Client] = None
        try:
            # Both are joined into paths below run_dir. A run is empty where nothing was begun.
            check_names(dict(params, run=params["run"] or None), {"mesh": naming.LOOSE, "run": naming.RUN, "names[]": naming.NAME})
            if params["state"] in ("status", "abort"):
                result.update(self._status(params) if params["state"] == "status" else self._abort(params))
                return result
            client = new_client(params)
            result.update(getattr(self, f"_{params['state']}")(client, params))
        except ApiError as error:
            result.update(failed=True, msg=str(error), failure=error.as_failure())
        except (start.Refused, lock.Taken, roll_journal.NoRun, run.Stopped, ValueError) as error:
            result.update(failed=True, msg=str(error))
        finally:
            if client is not None:
                client.close()
        return result

    def _start(self, client: Client, params: Result) -> Result:
        wish = start.Wish(
            mesh=params["mesh"],
            kind=params["kind"],
            hosts=_checked(params["hosts"]),
            settings=settings.read(params["settings"]),
            directory=os.path.join(self.directory, params["mesh"]),
            resume=params["resume"] == "auto",
            check=bool(self._task.check_mode),
            pid=os.getppid(),
        )
        starter = start.Starter(client, wish)
        result = starter.start()
        return dict(result, requests=client.requests, warnings=[*client.warnings, *starter.warnings])

    def _admit(self, client: Client, params: Result) -> Result:
        if self._task.check_mode:
            return {"changed": False, "admitted": False, "outcome": "refused", "reason": "check mode", "proxies": []}
        try:
            answer = roll_host.Host(run.open_run(self.directory, params["run"], client), self.host).admit()
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
        }

    def _restart(self, client: Client, params: Result) -> Result:
        """What proxy_restart returns on this host, one proxy after the other: a token is made when its restart begins."""
        if self._task.check_mode:
            return {"changed": False, "skipped": True}
        options = dict(params["restart"])
        if params["request"]:
            return self._on_vm(options, [{"name": name, "request": params["request"]} for name in params["names"]])
        host = roll_host.Host(run.open_run(self.directory, params["run"], client), self.host)
        whole: Result = {"changed": False, "results": []}
        for wish in host.wishes(params["names"]):
            found = self._restart_one(host, wish, options)
            changed, results = whole["changed"] or found.get("changed", False), [*whole["results"], *(found.get("results") or [])]
            whole = dict(found, changed=changed, results=results)
            if whole.get("failed"):
                break
        return whole

    def _restart_one(self, host: roll_host.Host, wish: Result, options: Result) -> Result:
        if wish["strategy"] == plan.COVER:
            refused = self._lay_cover(host, wish, options)
            if refused:
                return refused
        return self._on_vm(options, [wish])

    def _lay_cover(self, host: roll_host.Host, wish: Result, options: Result) -> Result:
        """Bring Dataplane and token of the cover to the VM; empty when they are there, or when a restart is under way that has its own."""
        drain_time = parse_seconds(str(options.get("drain_time", "30s")))
        longest = steps.longest(drain_time, float(options.get("ready_timeout", 60.0)))
        for _attempt in range(2):
            try:
                cover = host.cover(wish["name"], longest)
            except ApiError as error:
                return {"changed": False, "failed": True, "msg": f"{wish['name']} was not touched: {error}", "failure": error.as_failure()}
            laid = self._on_vm(dict(options, until=order.PREPARED), [dict(wish, cover=cover)])
            # Without pipelining the arguments are in a file on the VM until the action ends, and longer when the VM is lost.
            self._remove_tmp_path(self._connection._shell.tmpdir)
            if laid.get("failed"):
                return laid
            if laid["results"][0]["outcome"] != order.BUSY:
                break
            waited = self._on_vm(dict(options, until=order.FREE), [wish])
            if waited.get("failed"):
                return waited
        return {}

    def _on_vm(self, options: Result, proxies: t.Sequence[Result]) -> Result:
        arguments = dict(options, proxies=list(proxies))
        found: Result = self._execute_module(module_name="meshfleet.kuma.proxy_restart", module_args=arguments, task_vars=self.variables)
        return found

    def _complete(self, client: Client, params: Result) -> Result:
        if self._task.check_mode:
            return {"changed": False, "outcome": "skipped", "reason": "check mode"}
        try:
            answer = roll_host.Host(run.open_run(self.directory, params["run"], client), self.host).complete(params["result"])
        except (ApiError, run.Stopped) as error:
            return {"changed": False, "outcome": "failed", "reason": str(error)}
        self._say(params)
        return {"changed": answer.outcome == "done", "outcome": answer.outcome, "reason": answer.reason}

    def _finish(self, client: Client, params: Result) -> Result:
        if self._task.check_mode or not params["run"]:
            # Nothing was to be rolled, so no run was begun.
            return {"changed": False}
        result = finish.Finish(run.open_run(self.directory, params["run"], client)).finish()
        return dict(result, requests=client.requests, warnings=client.warnings)

    def _status(self, params: Result) -> Result:
        return finish.status(roll_journal.find(self.directory, params["run"]))

    def _abort(self, params: Result) -> Result:
        journal = roll_journal.find(self.directory, params["run"])
        if self._task.check_mode:
            return {"changed": not journal.head()["abort"]}
        return {"changed": finish.abort(journal, params["reason"]), "run": journal.run}

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


def _checked(hosts: t.Sequence[t.Any]) -> t.List[Result]:
    """``hosts``, each once and with all that is needed. Raises ValueError with everything that is wrong."""
    problems: t.List[str] = []
    names: t.Dict[str, str] = {}
    seen: t.Set[str] = set()
    for index, host in enumerate(hosts):
        if not host.get("host"):
            problems.append(f"hosts[{index}].host is missing, expected the name of the host")
            continue
        name = str(host["host"])
        if name in seen:
            problems.append(f"hosts[{index}]: {name} is given twice")
        seen.add(name)
        for proxy in host.get("proxies") or []:
            proxy_name = str(proxy.get("name") or "") if isinstance(proxy, dict) else ""
            if not proxy_name:
                problems.append(f"hosts[{index}] ({name}): a proxy has no name")
            elif not naming.is_name(proxy_name):
                problems.append(f"hosts[{index}] ({name}): the name of a proxy {naming.fault(proxy_name, naming.NAME)}")
            elif proxy_name in names:
                problems.append(f"hosts[{index}] ({name}): proxy {proxy_name} is one of {names[proxy_name]}, too")
            elif proxy.get("strategy", "auto") not in settings.STRATEGIES:
                problems.append(
                    f"hosts[{index}] ({name}): strategy of {proxy_name} is {proxy['strategy']!r}, expected one of "
                    + ", ".join(settings.STRATEGIES)
                )
            names.setdefault(proxy_name, name)
    if problems:
        raise ValueError("; ".join(problems))
    return list(hosts)
