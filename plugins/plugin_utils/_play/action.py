# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""The frame of the actions that the roles call: they run in the controller, and read the options of the roles themselves."""

from __future__ import annotations

import pathlib
import secrets
import typing as t

from ansible import constants
from ansible.module_utils.common.yaml import yaml_load
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import lookup_loader

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import Client
from ansible_collections.meshfleet.kuma.plugins.module_utils._api.errors import ApiError
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import controller, fitting, fleet, options, tray
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play.values import NotYet, Values

try:
    from ansible.template import trust_as_template
except ImportError:  # ansible-core 2.18 fills in whatever looks like a template

    def trust_as_template(value: str) -> str:  # type: ignore[misc, unused-ignore]
        return value


Json = t.Dict[str, t.Any]

ROOT = pathlib.Path(__file__).parents[3]
ROLES: t.Dict[str, t.Any] = {"type": "str", "choices": ["kuma_dp", "kuma_zone_proxy"], "default": "kuma_dp"}

# Options of modules that messages of a VM begin with, and the variable of the role after its prefix.
_SAID = {"user": "user", "group": "group", "install_dir": "install_dir", "src": "archive"}
_CONSTANTS = options.constants()
_defaults: Json = {}


def of_role(role: str) -> t.Dict[str, t.Any]:
    """The argument of a step that only one role has, and nobody has to give."""
    return {"role": {"type": "str", "choices": [role], "default": role}}


class Unset(Exception):
    """An option that has no default was not set."""


class RoleAction(ActionBase):
    """What reads the options of the roles, and what earlier tasks of the play run found out. ``prepare`` comes first."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def prepare(self, task_vars: t.Optional[Json]) -> None:
        self.variables: Json = task_vars or {}
        self.host = str(self.variables.get("inventory_hostname"))
        self.check = bool(self._task.check_mode)
        self.warnings: t.List[str] = []
        self.visits: t.List[str] = []

    def value(self, variable: str) -> t.Any:
        """A variable of this host as its role sees it. Raises Unset, and ValueError for what cannot be the part of a path that it is."""
        found = self._filled(variable)
        refusal = fitting.refusal(variable, found)
        if refusal:
            raise ValueError(refusal)
        return found

    def _filled(self, variable: str) -> t.Any:
        if variable in self.variables:
            return self._templar.template(self.variables[variable])
        # Tasks of one role read options of another one, whose defaults they do not see.
        if variable in _CONSTANTS:
            return _CONSTANTS[variable]
        if variable not in defaults():
            raise Unset(f"{variable} is not set, and has no default")
        filler = self._templar.copy_with_new_env(available_variables={**defaults(), **self.variables})
        return filler.template(defaults()[variable])

    def known(self, host: str) -> t.Callable[[str, t.Any], t.Any]:
        """What the inventory and earlier tasks say about any host; what cannot be told counts as not said."""
        variables = self.variables["hostvars"][host]

        def known(variable: str, default: t.Any) -> t.Any:
            try:
                return variables.get(variable, default)
            # Filters and tests of others raise what they like.
            except Exception:
                return default

        return known

    def seen(self, host: str) -> t.Callable[[str, t.Any], t.Any]:
        """What a host of the play would see in a task of its own. Raises ItemsFailed for what cannot be told, and for what is no part of a path."""
        if not hasattr(self, "_seen"):
            filler = self._templar.copy_with_new_env(available_variables=self.variables)
            self._seen = Values(self.variables, filler, self._task._role is not None or bool(self.variables.get("ansible_role_names")))
        values = self._seen.of(host, self._seen.inventory(host) or {})

        def seen(variable: str, default: t.Any) -> t.Any:
            try:
                found = values.filled(variable, default)
            except NotYet as error:
                raise ItemsFailed(f"{host}: {variable} cannot be filled in: {error}") from error
            refusal = fitting.refusal(variable, found)
            if refusal:
                raise ItemsFailed(f"{host}: {refusal}")
            return found

        return seen

    def read(self, table: options.Table) -> Json:
        return options.read(table, self.value)

    def read_playbook(self, table: options.Table) -> Json:
        """What a playbook is asked for, which no role has a default for. Raises ItemsFailed for what cannot be filled in."""
        return options.read_elsewhere(table, self.seen(self.host))

    @property
    def in_play(self) -> t.List[str]:
        return list(self.variables["ansible_play_hosts"])

    @property
    def in_play_at_first(self) -> t.List[str]:
        return list(self.variables["ansible_play_hosts_all"])

    def group(self, variable: str, default: str) -> t.List[str]:
        """The hosts of the group that a variable names."""
        name = self.variables.get(variable)
        name = self._templar.template(name) if name else default
        return list(self.variables["groups"].get(name, []))

    def asked(self, table: options.Table) -> Json:
        """The options of a playbook, which no role has a default for."""
        return options.read_elsewhere(table, lambda name, default: self.value(name) if name in self.variables else default)

    def whole_fleet(self) -> t.List[str]:
        """Every host with proxies of the mesh or of the zone, whether the play handles it or not."""
        return sorted({*self.group("kuma_fleet", "mesh_fleet"), *self.group("kuma_zone_fleet", "mesh_zone_proxies")})

    def registered(self, name: str) -> t.Callable[[str], t.Optional[Json]]:
        """What a task of a playbook registered under this name, for any host; None for one without."""
        return lambda host: t.cast("t.Optional[Json]", self.variables["hostvars"].raw_get(host).get(name))

    def search_dirs(self) -> t.List[str]:
        return controller.search_dirs(self.variables)

    def forget(self) -> None:
        """Remove what the modules of this task have left on the VM.

        Without pipelining their arguments are in files there until the task ends, and longer when the VM is lost.
        """
        if self._connection._shell.tmpdir is not None:
            self._remove_tmp_path(self._connection._shell.tmpdir)  # type: ignore[no-untyped-call]

    def api(self) -> Json:
        """How the control plane that the options of role kuma_dp name is reached, as options of a module and of Client. Raises Missing."""
        api, directories = self.read(options.API), self.search_dirs()
        cache, private = self.value("kuma_dp_archive_cache"), constants.DEFAULT_LOCAL_TMP  # type: ignore[attr-defined]
        client = {
            key: controller.private_path(api[key], options.API[key].variable, directories, private) for key in ("client_cert", "client_key")
        }
        return {
            **client,
            "url": api["url"],
            "token": api["token"] or None,
            "ca_path": controller.pem_path(api["ca"], "kuma_dp_api_ca", directories, cache),
            "validate_certs": api["validate_certs"],
            "timeout": api["timeout"],
        }


class FleetAction(RoleAction):
    """One step of a role. ``step`` does it; what it raises of the failures of this collection becomes one of the task."""

    ARGUMENTS: t.ClassVar[t.Dict[str, t.Any]] = {}

    def run(self, tmp: t.Optional[str] = None, task_vars: t.Optional[Json] = None) -> Json:
        result: Json = super().run(tmp, task_vars)
        self.prepare(task_vars)
        _validation, self.params = ActionBase.validate_argument_spec(self, {"role": ROLES, **self.ARGUMENTS})
        self.role = str(self.params["role"])
        try:
            result.update(self.step())
        except VisitFailed as failed:
            told = {key: value for key, value in failed.result.items() if key not in ("invocation", "diff")}
            result.update(told, failed=True, msg=failed.msg)
        except ItemsFailed as failed:
            result.update(failed=True, msg=failed.msg)
        except ApiError as error:
            result.update(failed=True, msg=str(error), failure=error.as_failure())
        except (controller.Missing, Unset, ValueError) as error:
            result.update(failed=True, msg=f"{self.host}: {error}")
        result["visits"] = self.visits
        if self.warnings:
            result["warnings"] = self.warnings
        return result

    def step(self) -> Json:
        """What the task returns."""
        raise NotImplementedError

    def fact(self, host: str, name: str) -> t.Any:
        """What a task of this role registered for a host as ``<role>_<name>``; None when it did not run."""
        return self.variables["hostvars"].raw_get(host).get(f"{self.role}_{name}")

    def own(self, name: str) -> Json:
        """What a task of this role registered for this host."""
        return t.cast(Json, self.variables[f"{self.role}_{name}"])

    def leaving(self, host: str) -> t.List[str]:
        """The proxies of a host that leave. Of one that could not be looked at the inventory alone tells them. Raises ItemsFailed."""
        look = self.fact(host, "look") or {}
        if "names" in look:
            return list(look["names"])
        known = self.known(host)
        mesh = self.role == "kuma_dp"
        names = fleet.mesh_names(host, known) if mesh else [name for name, _kind in fleet.zone_names(host, known)]
        fleet.check_names(host, names, self.role, known(f"{self.role}_proxies", []))
        return names

    def client(self) -> Client:
        """A client of the control plane that the options of role kuma_dp name."""
        return Client(**self.api())

    def tray(self) -> tray.Tray:
        return tray.Tray(constants.DEFAULT_LOCAL_TMP, self.role)  # type: ignore[attr-defined]

    def digest_key(self) -> str:
        """For the digests of files of this VM: the same in all steps of a run, and known to nobody else.

        Results have them, and the settings of a proxy may hold a password that is soon found by trying.
        """
        kept = tray.Tray(constants.DEFAULT_LOCAL_TMP, f"{self.role}-digests")  # type: ignore[attr-defined]
        own = kept.take(self.host)
        if not own:
            own = {"key": secrets.token_hex(16)}
            kept.keep(self.host, own)
        return own["key"]

    def render(self, template: str, variables: t.Mapping[str, t.Any], role: str = "kuma_proxy") -> str:
        """A template of a role, filled in."""
        lookup = lookup_loader.get("ansible.builtin.template", loader=self._loader, templar=self._templar)
        path = str(ROOT / "roles" / role / "templates" / template)
        return str(lookup.run([path], variables=self.variables, template_vars=dict(variables))[0])

    def module(self, name: str, **arguments: t.Any) -> Json:
        """Run a module on the VM. Raises VisitFailed."""
        given = {key: value for key, value in arguments.items() if value is not None}
        self.visits.append(name)
        result: Json = self._execute_module(module_name=f"meshfleet.kuma.{name}", module_args=given, task_vars=self.variables)
        if result.get("failed") or result.get("unreachable"):
            raise VisitFailed(dict(result, msg=self._with_variable(_message(result))))
        self.warnings.extend(result.get("warnings") or [])
        return result

    def _with_variable(self, message: str) -> str:
        """A message that begins with the option of a module, with the variable that it comes from before it."""
        # Zone proxies are laid down with the options of kuma_dp.
        prefix = "kuma_cp" if self.role == "kuma_cp" else "kuma_dp"
        option, colon, rest = message.partition(": ")
        return f"{prefix}_{_SAID[option]} ({option}){colon}{rest}" if option in _SAID else message

    def entrust(self, name: str, **arguments: t.Any) -> Json:
        """The same with a module that is told secrets, which are not to lie on the VM while others run."""
        result = self.module(name, **arguments)
        self.forget()
        return result

    def secret(self, name: str, **arguments: t.Any) -> Json:
        """The same with a module whose answer is a secret: what a connection says of it with -vvv is censored."""
        context = self._connection._play_context
        before, context.no_log = context.no_log, True
        try:
            return self.module(name, **arguments)
        finally:
            context.no_log = before

    def send(self, archive: str) -> str:
        """Bring a release to the VM, compressed as it is. Returns where it is there; it goes with the task."""
        if self._connection._shell.tmpdir is None:
            self._make_tmp_path()
        directory = self._connection._shell.tmpdir
        remote = self._connection._shell.join_path(directory, "archive.tar.gz")
        self._transfer_file(archive, remote)  # type: ignore[no-untyped-call]
        self._fixup_perms2((directory, remote))  # type: ignore[no-untyped-call]
        return str(remote)


class VisitFailed(ItemsFailed):
    """A module on the VM failed with ``result``."""

    def __init__(self, result: Json) -> None:
        super().__init__(_message(result), result)


def _message(result: Json) -> str:
    return str(result.get("msg") or result.get("module_stderr") or "failed")


def diffs(results: t.Iterable[Json]) -> t.List[Json]:
    """What several modules changed, in one list; one without a difference returns none."""
    found: t.List[Json] = []
    for diff in (result.get("diff") or [] for result in results):
        found += [diff] if isinstance(diff, dict) else diff
    return found


def code(path: str) -> str:
    """A file of this collection."""
    return (ROOT / path).read_text(encoding="utf-8")


def defaults() -> Json:
    """The defaults of all roles, read when they are needed for the first time in a process, and each host has one."""
    if not _defaults:
        for path in sorted(ROOT.glob("roles/*/defaults/main.yml")):
            _defaults.update({key: _trusted(value) for key, value in (yaml_load(path.read_text(encoding="utf-8")) or {}).items()})
    return _defaults


def _trusted(value: t.Any) -> t.Any:
    if isinstance(value, dict):
        return {key: _trusted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_trusted(item) for item in value]
    return trust_as_template(value) if isinstance(value, str) else value
