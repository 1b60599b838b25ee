# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An action that runs in this process: the play around it, without Ansible."""

from __future__ import annotations

import types

from tests.unit.play.test_values import Filler, HostVars


def action(module, control_plane, inventory, *, role=False, check=False, step=None, **variables):
    """The action of ``module`` as the first host of ``inventory`` runs it for all hosts in ``in_play``, or all of the inventory."""
    hostvars = HostVars(inventory)
    in_play = variables.pop("in_play", list(inventory))
    made = module.ActionModule.__new__(module.ActionModule)
    made.host = in_play[0]
    made.variables = {
        **hostvars.raw_get(made.host),
        "hostvars": hostvars,
        "groups": {"mesh_fleet": list(inventory)},
        "ansible_play_hosts": in_play,
        "ansible_play_hosts_all": in_play,
        "kuma_dp_control_plane_url": control_plane.https_url,
        "kuma_dp_control_plane_ca": control_plane.ca_file,
        "kuma_dp_api_token": control_plane.token,
        "kuma_dp_archive_cache": "/nowhere",
        **variables,
    }
    made.check, made.role, made.warnings, made.params = check, "kuma_dp", [], {"step": step}
    made._task = types.SimpleNamespace(_role="a role" if role else None)
    made._templar = Engine(made.variables)
    return made


class Engine(Filler):
    """Fills the template of another variable in, and lists and mappings as they are."""

    def __init__(self, available_variables):
        super().__init__()
        self.available_variables = available_variables

    def copy_with_new_env(self, available_variables):
        return Engine(available_variables)

    def template(self, value):
        return super().template(value) if isinstance(value, str) else value
