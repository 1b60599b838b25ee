# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action behind meshfleet.kuma.control_plane_look, whose documentation is in plugins/modules/control_plane_look.py."""

from __future__ import annotations

import contextlib
import os
import typing as t

from ansible import constants

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import checks, network
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._join import control_plane as plans
from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import action, control_plane, controller

Json = t.Dict[str, t.Any]


# Seconds for the resolver.
_PATIENCE = 5.0


def resolved(names: t.Any) -> t.Dict[str, t.List[str]]:
    """The addresses of those of ``names`` that are names, as the controller finds them; none where it finds none."""
    found: t.Dict[str, t.List[str]] = {}
    for name in names if isinstance(names, list) else []:
        if isinstance(name, str) and "*" not in name and not checks.is_ip(name):
            with contextlib.suppress(OSError):
                found[name] = list(dict.fromkeys(address.text for address in network.resolve(name, 0, _PATIENCE)))
    return found


class ActionModule(action.FleetAction):
    """One visit to the VM of a control plane, and everything that speaks against what it is to be."""

    ARGUMENTS = action.of_role("kuma_cp")

    def step(self) -> Json:
        options = self.read(control_plane.CONTROL_PLANE)
        seen = self.module("proxy_info", **{key: options[key] for key in ("config_dir", "install_dir", "user", "group")})["host"]
        plan = self._planned(options, seen)
        return {
            "changed": False,
            "install": plan.install,
            "archive": plan.archive,
            "checksum": plan.checksum,
            "https_address": plan.https_address,
            "account": bool(seen["user_exists"] and seen["group_exists"]),
        }

    def _planned(self, options: Json, seen: Json) -> plans.Plan:
        directories = self.search_dirs()
        texts, missing = controller.pem_texts({key: options[key] for key in control_plane.PEM}, directories)
        variables = {
            **control_plane.told(options, missing),
            "archive": controller.archive_source(options["archive"], options["version"], seen["architecture"], directories),
            "archive_cache": os.path.expanduser(options["archive_cache"]),
        }
        given = {key: texts.get(key) for key in ("tls_cert", "tls_key", "tls_ca")}
        self._resolved = resolved(options["names"])
        plan = self._plan(variables, seen, given)
        if plan.fetch and not self.check:
            problems = controller.fetch(plan.fetch, "kuma_cp")
            if problems:
                raise ItemsFailed(plans.message(problems))
            # Now there is something to look into.
            plan = self._plan(variables, seen, given)
        self.warnings.extend(plan.warnings)
        return plan

    def _plan(self, variables: Json, seen: Json, given: t.Mapping[str, t.Optional[str]]) -> plans.Plan:
        plan, problems = plans.plan(self.host, variables, seen, given, constants.DEFAULT_LOCAL_TMP, self._resolved)  # type: ignore[attr-defined]
        if plan is None:
            raise ItemsFailed(plans.message(problems))
        return plan
