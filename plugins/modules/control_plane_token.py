#!/usr/bin/python
# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: control_plane_token
short_description: Fetch the administrator's token from the VM of a control plane
version_added: 0.1.0
description:
  - Reads the global secret C(admin-user-token) over loopback on the VM, where it never goes over the network in plain text.
  - Where requests over loopback are not those of an administrator, the token is kept in O(path) on the VM. When it is not there or no longer
    good, kuma-cp is restarted with its API on loopback alone and open to everybody on the VM, asked, and restarted as it was.
  - The result holds the token. Use C(no_log=true).
extends_documentation_fragment:
  - meshfleet.kuma.attributes
attributes:
  check_mode:
    support: full
    details:
      - In check mode the token that is there is returned, an empty one when it would have to be fetched.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  localhost_is_admin:
    description: Whether kuma-cp takes requests over loopback for those of an administrator.
    type: bool
    required: true
  path:
    description: Where the token is kept on the VM, readable by root alone. Not used with O(localhost_is_admin=true).
    type: path
    required: true
  version:
    description: The version of kuma-cp, which has to answer after a restart.
    type: str
    required: true
  address:
    description: The address on which the API listens for plain HTTP.
    type: str
    default: 127.0.0.1
  port:
    description: The port of the API for plain HTTP.
    type: int
    default: 5681
  timeout:
    description: After how many seconds without the token it fails.
    type: float
    default: 120.0
requirements:
  - Linux with systemd
seealso:
  - module: meshfleet.kuma.control_plane_service
author:
  - The meshfleet.kuma maintainers (@meshfleet)
"""

EXAMPLES = r"""
- name: Fetch the administrator's token
  hosts: kuma_control_plane
  gather_facts: false
  become: true
  tasks:
    - name: Ask over loopback
      meshfleet.kuma.control_plane_token:
        localhost_is_admin: true
        path: /etc/kuma-cp/admin-token
        version: 2.14.3
      register: admin
      no_log: true
"""

RETURN = r"""
token:
  description: The token of C(mesh-system:admin).
  returned: success
  type: str
fetched:
  description: Whether kuma-cp had to be opened for it.
  returned: success
  type: bool
journal:
  description: The last lines that kuma-cp logged, without tokens.
  returned: when it does not run
  type: list
  elements: str
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ModuleFailed, Result
from ansible_collections.meshfleet.kuma.plugins.module_utils._control_plane.service import Api, Service, fetch_token, is_admin
from ansible_collections.meshfleet.kuma.plugins.module_utils._module.host import run
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import host, safely
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.commands import Runner


def fetch(module: AnsibleModule, runner: Runner) -> Result:
    params = module.params
    api = Api(params["address"], params["port"])
    service = Service(api, runner, host.Processes().started)
    if params["localhost_is_admin"]:
        there = not module.check_mode or api.version() is not None
        return {"changed": False, "fetched": False, "token": fetch_token(api, params["timeout"]) if there else ""}
    kept = _kept(params["path"])
    if kept and is_admin(api, kept):
        return {"changed": False, "fetched": False, "token": kept}
    token = ""
    if not module.check_mode:
        token = _open_and_ask(service, params)
        try:
            safely.write(params["path"], token.encode("ascii"), 0o600)
        except OSError as exc:
            raise ModuleFailed("the administrator's token cannot be kept in %s: %s" % (params["path"], exc)) from exc
    return {"changed": True, "fetched": True, "token": token}


def _open_and_ask(service: Service, params: t.Mapping[str, t.Any]) -> str:
    service.open()
    try:
        service.restart(params["version"], params["timeout"])
        token = fetch_token(service.api, params["timeout"])
    finally:
        service.close()
        service.restart(params["version"], params["timeout"])
    if not is_admin(service.api, token):
        raise ModuleFailed("the control plane does not take the token of its own secret admin-user-token for an administrator's")
    return token


def _kept(path: str) -> str:
    try:
        return safely.read(path).decode("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def main() -> None:
    run(
        fetch,
        {
            "localhost_is_admin": {"type": "bool", "required": True},
            "path": {"type": "path", "required": True},
            "version": {"type": "str", "required": True},
            "address": {"type": "str", "default": "127.0.0.1"},
            "port": {"type": "int", "default": 5681},
            "timeout": {"type": "float", "default": 120.0},
        },
        names={"path": naming.PATH, "version": naming.VERSION},
    )


if __name__ == "__main__":
    main()
