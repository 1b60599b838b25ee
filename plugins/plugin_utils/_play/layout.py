# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Where the files of proxies are on a VM, with which owner and mode: one list for writing them and for taking them away again."""

from __future__ import annotations

import posixpath
import typing as t
from dataclasses import dataclass

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.removal import MARKER, tidy
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import options

Json = t.Dict[str, t.Any]

UNIT = "/etc/systemd/system/kuma-dp@.service"
COVER_UNIT = "/etc/systemd/system/kuma-dp-cover@.service"
RESTART_UNIT = "/etc/systemd/system/kuma-dp-restart@.service"
UNITS = (UNIT, COVER_UNIT, RESTART_UNIT)
SYSCTL = "/etc/sysctl.d/60-kuma-dp.conf"
NEEDRESTART = "/etc/needrestart/conf.d/kuma-dp.conf"
STATE_DIR = "/var/lib/kuma-dp"
# The code that restarts a proxy on the VM.
RESTART_DIR = "/usr/local/lib/kuma-dp-restart"
RESTART_PROGRAM = RESTART_DIR + "/kuma_dp_restart.py"
PACKAGE = "ansible_collections/meshfleet/kuma/plugins/module_utils"
RESTART_SOURCES = (
    "_common/checks",
    "_common/jwt",
    "_common/naming",
    "_common/redact",
    "_common/times",
    "_restart/facts",
    "_restart/files",
    "_restart/machine",
    "_restart/steps",
    "_restart/vm",
    "_vm/asking",
    "_vm/commands",
    "_vm/envoy",
    "_vm/host",
    "_vm/journal",
    "_vm/safely",
    "_vm/systemd",
)
# What 0.1.0 laid down in one folder.
OLD_SOURCES = (
    "_envoy", "_host", "_names", "_restart", "_restart_files", "_restart_machine", "_restart_steps", "_restart_vm", "_systemd", "_tokens",
)  # fmt: skip
COMMENT = "Kuma data plane proxies"
# What the restart keeps beside a token and an environment file, whatever of it is there.
_KEPT = [("tokens", ".started"), ("tokens", ".good"), ("tokens", ".cover"), ("env", ".started"), ("env", ".good")]


# The options that a layout depends on, beside the version.
PLACE: options.Table = {key: options.VM[key] for key in ("config_dir", "install_dir", "user", "group")}


@dataclass(frozen=True)
class Layout:
    """Of one VM; the fields are options of role kuma_dp. Without a version there is no release to lay down.

    Whoever asks for the path of what is no name of a proxy gets ValueError.
    """

    config_dir: str
    install_dir: str
    version: str
    user: str
    group: str

    @classmethod
    def of(cls, place: t.Mapping[str, str], version: str) -> Layout:
        """``place`` are the values of ``PLACE``."""
        return cls(tidy(place["config_dir"]), tidy(place["install_dir"]), version, place["user"], place["group"])

    def dataplane(self, name: str) -> str:
        return f"{self.config_dir}/dataplanes/{naming.checked(name)}.yaml"

    def environment(self, name: str) -> str:
        return f"{self.config_dir}/env/{naming.checked(name)}.env"

    def token(self, name: str) -> str:
        return f"{self.config_dir}/tokens/{naming.checked(name)}"

    @property
    def ca(self) -> str:
        return f"{self.config_dir}/control-plane-ca.pem"

    @property
    def outbounds(self) -> str:
        return f"{self.config_dir}/outbounds.env"

    @property
    def version_dir(self) -> str:
        return f"{self.install_dir}/{self.version}"

    @property
    def marker(self) -> str:
        return f"{self.version_dir}/{MARKER}"

    @property
    def current(self) -> str:
        return f"{self.install_dir}/current"

    @property
    def own_dirs(self) -> t.List[str]:
        """The directories that hold files of proxies and nothing else."""
        return [f"{self.config_dir}/{name}" for name in ("dataplanes", "env", "tokens")]

    def ours(self, path: str, mode: str) -> Json:
        """A path that only proxies may read."""
        return {"path": path, "owner": "root", "group": self.group, "mode": mode}

    def secret(self, name: str) -> Json:
        return {"path": self.token(name), "owner": self.user, "group": self.group, "mode": "0600"}

    def directories(self, needrestart: bool) -> t.List[Json]:
        """All that are made, parents first."""
        paths = [root(self.config_dir, "0755"), *(self.ours(path, "0750") for path in self.own_dirs)]
        paths += [root(path, "0755") for path in (self.install_dir, self.version_dir, *package_dirs(RESTART_DIR, RESTART_SOURCES))]
        return paths + ([root(posixpath.dirname(NEEDRESTART), "0755")] if needrestart else [])

    def links(self) -> t.List[Json]:
        return [{"path": self.current, "target": self.version}]

    def outdated(self, names: t.Iterable[str]) -> t.List[str]:
        """What 0.1.0 left: the tokens of covers, which were valid for a day, and what restarts proxies."""
        return [f"{STATE_DIR}/{naming.checked(name)}/cover/token" for name in names] + [
            f"{RESTART_DIR}/{PACKAGE}/{name}.py" for name in OLD_SOURCES
        ]

    @property
    def kept_below(self) -> t.List[str]:
        """Strictly below which ``outdated`` paths are."""
        return [STATE_DIR, RESTART_DIR]

    def of_proxies(self, names: t.Sequence[str], last_of_mesh: bool) -> t.List[str]:
        """The files of these proxies; with the last one of the mesh go the ports of its services."""
        return [
            *map(self.dataplane, names),
            *map(self.environment, names),
            *map(self.token, names),
            *(f"{self.config_dir}/{directory}/.{name}{suffix}" for directory, suffix in _KEPT for name in names),
            *(f"{STATE_DIR}/{name}" for name in names),
            *([self.outbounds] if last_of_mesh else []),
        ]

    def shared(self) -> t.List[str]:
        """The files that all proxies of a VM share."""
        return [*UNITS, self.ca, RESTART_DIR, STATE_DIR, SYSCTL, NEEDRESTART]


def root(path: str, mode: str) -> Json:
    return {"path": path, "owner": "root", "group": "root", "mode": mode}


def package_dirs(directory: str, sources: t.Iterable[str]) -> t.List[str]:
    """The directories of code that is laid down below ``directory``, parents first."""
    found, path = [directory], directory
    for part in PACKAGE.split("/"):
        path = f"{path}/{part}"
        found.append(path)
    return found + list(dict.fromkeys(f"{path}/{posixpath.dirname(name)}" for name in sources))


def removal(layout: Layout, names: t.Sequence[str], *, staying: t.Sequence[str], mesh_staying: t.Sequence[str], purge: bool) -> Json:
    """The options of proxy_files that take ``names`` away; ``staying`` are the other proxies of the VM, ``mesh_staying`` those of them
    that are no zone proxies. ``purge`` takes the release away with the last one."""
    last = not staying
    purged = last and purge
    return {
        "absent": layout.of_proxies(names, not mesh_staying) + (layout.shared() if last else []),
        "below": [*layout.own_dirs, STATE_DIR],
        "absent_if_empty": layout.own_dirs if last else [],
        # Whatever else is in the directory of the releases stays: it may be one that others use.
        "absent_releases": [layout.install_dir] if purged else [],
        # A join that was interrupted left this one without its marker.
        "absent_unfinished": [layout.version_dir] if purged and layout.version else [],
        "daemon_reload": last,
    }
