#!/usr/bin/python
# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: control_plane_service
short_description: Run kuma-cp on a VM with its current files
version_added: 0.1.0
description:
  - Starts C(kuma-cp.service), lets it start at boot, and restarts it when it runs with something old; then waits until the API answers
    with the wanted version.
  - Whether it runs with something old is told by the start of its process, the times of its files and the version that answers, not by what a
    task before remembers, so a run that was interrupted is made good by the next one.
  - There is one instance. While it restarts nothing can be written and no proxy gets news; proxies and their traffic go on.
extends_documentation_fragment:
  - meshfleet.kuma.attributes
attributes:
  check_mode:
    support: full
    details:
      - A unit that does not exist yet is accepted in check mode.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  version:
    description: The version that has to answer.
    type: str
    required: true
  files:
    description: Files that kuma-cp reads when it starts. A newer one restarts it.
    type: list
    elements: path
    default: []
  files_changed:
    description: Whether files are about to change, which in check mode they cannot be seen to have done.
    type: bool
    default: false
  address:
    description: The address on which the API listens for plain HTTP.
    type: str
    default: 127.0.0.1
  port:
    description: The port of the API for plain HTTP.
    type: int
    default: 5681
  timeout:
    description: After how many seconds without an answer it fails.
    type: float
    default: 120.0
requirements:
  - Linux with systemd
seealso:
  - module: meshfleet.kuma.control_plane_token
author:
  - The meshfleet.kuma maintainers (@meshfleet)
"""

EXAMPLES = r"""
- name: Run the control plane
  hosts: kuma_control_plane
  gather_facts: false
  become: true
  tasks:
    - name: Start it, or restart it when its configuration is newer
      meshfleet.kuma.control_plane_service:
        version: 2.14.3
        files: [/etc/kuma-cp/kuma-cp.yaml]
"""

RETURN = r"""
actions:
  description: Some of V(enabled), V(started), V(restarted).
  returned: success
  type: list
  elements: str
  sample: [restarted]
reasons:
  description: Why it was restarted.
  returned: success
  type: list
  elements: str
  sample: [version 2.13.10 runs, 2.14.3 is installed]
version_before:
  description: The version that answered before.
  returned: when somebody answered
  type: str
  sample: 2.13.10
journal:
  description: The last lines that kuma-cp logged, without tokens.
  returned: when it does not run
  type: list
  elements: str
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import Result
from ansible_collections.meshfleet.kuma.plugins.module_utils._control_plane.service import Api, Service, actions_for
from ansible_collections.meshfleet.kuma.plugins.module_utils._module.host import run
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import host
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.commands import Runner


def serve(module: AnsibleModule, runner: Runner) -> Result:
    params = module.params
    api = Api(params["address"], params["port"])
    service = Service(api, runner, host.Processes().started)
    unit = service.show()
    reasons = service.reasons(unit, params["files"], params["version"])
    if params["files_changed"] and module.check_mode and not reasons:
        reasons = ["its files would change"]
    before = api.version()
    actions = actions_for(unit, reasons)
    if "restarted" in actions:
        module.warn(
            "%s: there is one instance, so meanwhile nothing can be written to the mesh and proxies get no news" % _restarting(reasons)
        )
    if not module.check_mode:
        service.carry_out(actions, params["version"], params["timeout"])
    return {"changed": bool(actions), "actions": actions, "reasons": reasons if "restarted" in actions else [], "version_before": before}


def _restarting(reasons: t.Sequence[str]) -> str:
    return "kuma-cp is restarted, because %s" % "; ".join(reasons)


def main() -> None:
    run(
        serve,
        {
            "version": {"type": "str", "required": True},
            "files": {"type": "list", "elements": "path", "default": []},
            "files_changed": {"type": "bool", "default": False},
            "address": {"type": "str", "default": "127.0.0.1"},
            "port": {"type": "int", "default": 5681},
            "timeout": {"type": "float", "default": 120.0},
        },
        names={"files[]": naming.PATH, "version": naming.VERSION},
    )


if __name__ == "__main__":
    main()
