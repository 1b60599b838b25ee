#!/usr/bin/python
# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: transparent_proxy
short_description: Lead the connections of a VM through its proxy, and never lock yourself out
version_added: 0.1.0
description:
  - Has C(kumactl install transparent-proxy) run by a systemd unit of the VM, when its options differ from those that were applied, or when its
    rules are gone.
  - A timer on the VM undoes everything unless the task that follows, with O(state=confirmed), comes in a new SSH connection. The role
    C(meshfleet.kuma.kuma_transparent_proxy) does both, and lays down the program and the units that this needs.
  - The port of the SSH connection that the module is run in is always excluded, and so is O(ansible_port). Connections that are open get
    tracked before the rules are there, or their next packet would be redirected.
extends_documentation_fragment:
  - meshfleet.kuma.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - It shows what C(kumactl install transparent-proxy --dry-run) prints, before and after.
  idempotent:
    support: full
options:
  state:
    description:
      - V(present) has the rules applied and arms the timer. V(confirmed) keeps them and disarms it. V(absent) takes rules, unit and files away.
    type: str
    choices: [present, confirmed, absent]
    default: present
  user:
    description: The user that proxies run as. Its connections are not redirected.
    type: str
    default: kuma-dp
  kumactl:
    description: The program that makes the rules.
    type: path
    default: /opt/kuma/current/bin/kumactl
  version:
    description: The release of Kuma that is installed, to refuse one that cannot take its rules away.
    type: str
    default: ""
  redirect_inbound:
    description: Whether incoming connections are redirected. A gateway's are not.
    type: bool
    default: true
  redirect_inbound_port:
    description: Where Envoy takes incoming connections.
    type: int
    default: 15006
  redirect_outbound_port:
    description: Where Envoy takes outgoing connections.
    type: int
    default: 15001
  redirect_dns:
    description: Whether queries to the servers of C(/etc/resolv.conf) are redirected.
    type: bool
    default: false
  redirect_all_dns_traffic:
    description: Whether all queries are redirected.
    type: bool
    default: false
  redirect_dns_port:
    description: Where kuma-dp answers DNS queries.
    type: int
    default: 15053
  ip_family_mode:
    description: Whether IPv6 is redirected as well.
    type: str
    choices: [dualstack, ipv4]
    default: dualstack
  exclude_inbound_ports:
    description: Ports whose incoming connections are not redirected.
    type: list
    elements: str
    default: []
  exclude_outbound_ports:
    description: Ports to which outgoing connections are not redirected.
    type: list
    elements: str
    default: []
  exclude_outbound_ports_for_uids:
    description: The same for some users, as V([[protocol:]ports:]uids).
    type: list
    elements: str
    default: []
  exclude_inbound_ips:
    description: Addresses or networks from which connections are not redirected.
    type: list
    elements: str
    default: []
  exclude_outbound_ips:
    description: Addresses or networks to which connections are not redirected.
    type: list
    elements: str
    default: []
  vnet:
    description: Interfaces of virtual networks with their network, such as V(docker0:172.17.0.0/16).
    type: list
    elements: str
    default: []
  drop_invalid_packets:
    description: Whether packets that belong to no known connection are dropped.
    type: bool
    default: false
  skip_dns_conntrack_zone_split:
    description: Whether DNS goes without connection tracking zones of its own.
    type: bool
    default: false
  ansible_port:
    description: The port that Ansible connects to, which is excluded beside the one that sshd sees.
    type: int
  ssh_ports:
    description: More ports of sshd.
    type: list
    elements: str
    default: []
  exclude_controller:
    description: Whether nothing that goes to the other end of the SSH connection is redirected, unless it is in O(members).
    type: bool
    default: true
  members:
    description: Addresses of VMs of the mesh, which are called through the proxy even by one that is run from them.
    type: list
    elements: str
    default: []
  dns_enabled:
    description: Whether kuma-dp answers DNS queries, to refuse a redirection to nobody.
    type: bool
  directories:
    description: Directories of O(files), with mode 0755.
    type: list
    elements: path
    default: []
  files:
    description: Files that are written before the rules are applied, with mode 0644.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The absolute path.
        type: path
        required: true
      content:
        description: The content.
        type: str
        required: true
  program:
    description: The command that the timer runs, without its verb.
    type: list
    elements: str
    default: [/usr/bin/python3, -ISB, /usr/local/lib/kuma-transparent-proxy/kuma_transparent_proxy.py]
  ready_timeout:
    description: For how many seconds to wait until Envoy listens on the ports that connections are redirected to. Without it no rule is applied.
    type: float
    default: 60.0
  rollback_timeout:
    description: After how many seconds everything is undone when nobody confirmed it.
    type: int
    default: 60
requirements:
  - Linux with systemd and iptables
seealso:
  - module: meshfleet.kuma.proxy_info
author:
  - The meshfleet.kuma maintainers (@meshfleet)
"""

EXAMPLES = r"""
- name: Show what the rules of a VM would become
  hosts: web-1
  gather_facts: false
  become: true
  tasks:
    - name: Compare
      meshfleet.kuma.transparent_proxy:
        exclude_outbound_ports: ["5432"]
      check_mode: true
      diff: true
"""

RETURN = r"""
ordered:
  description: Whether rules were applied, which are undone unless they are confirmed.
  returned: success
  type: bool
reasons:
  description: Why they were, or would be.
  returned: with O(state=present)
  type: list
  elements: str
  sample: ["nat: gone: ipv4: -A PREROUTING -p tcp -j KUMA_MESH_INBOUND"]
arguments:
  description: What kumactl is told.
  returned: with O(state=present)
  type: list
  elements: str
  sample: [--kuma-dp-user, kuma-dp]
connection:
  description: The SSH connection of this task. None when it is no SSH.
  returned: success
  type: dict
  sample: {client: 10.0.0.5, client_port: 50122, server: 10.0.0.7, port: 22}
removed:
  description: The paths that were removed, or would be.
  returned: with O(state=absent)
  type: list
  elements: str
problems:
  description: Why nothing was done.
  returned: when an option cannot be fulfilled
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ModuleFailed, Result
from ansible_collections.meshfleet.kuma.plugins.module_utils._module.host import run
from ansible_collections.meshfleet.kuma.plugins.module_utils._transparent import vm
from ansible_collections.meshfleet.kuma.plugins.module_utils._transparent.change import Change
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import files
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.commands import Runner

# Tests look below another directory.
ROOT = "/"


def bring(module: AnsibleModule, runner: Runner) -> Result:
    change = Change(module.params, vm.Vm(runner, root=ROOT), module.check_mode, module._diff)
    try:
        result: Result = getattr(change, module.params["state"])()
    except (vm.Failed, files.WriteFailed, OSError) as exc:
        raise ModuleFailed(str(exc)) from exc
    return dict(result, connection=change.connection)


def main() -> None:
    run(
        bring,
        {
            "state": {"type": "str", "choices": ["present", "confirmed", "absent"], "default": "present"},
            "user": {"type": "str", "default": "kuma-dp"},
            "kumactl": {"type": "path", "default": "/opt/kuma/current/bin/kumactl"},
            "version": {"type": "str", "default": ""},
            "redirect_inbound": {"type": "bool", "default": True},
            "redirect_inbound_port": {"type": "int", "default": 15006},
            "redirect_outbound_port": {"type": "int", "default": 15001},
            "redirect_dns": {"type": "bool", "default": False},
            "redirect_all_dns_traffic": {"type": "bool", "default": False},
            "redirect_dns_port": {"type": "int", "default": 15053},
            "ip_family_mode": {"type": "str", "choices": ["dualstack", "ipv4"], "default": "dualstack"},
            "exclude_inbound_ports": {"type": "list", "elements": "str", "default": []},
            "exclude_outbound_ports": {"type": "list", "elements": "str", "default": []},
            "exclude_outbound_ports_for_uids": {"type": "list", "elements": "str", "default": []},
            "exclude_inbound_ips": {"type": "list", "elements": "str", "default": []},
            "exclude_outbound_ips": {"type": "list", "elements": "str", "default": []},
            "vnet": {"type": "list", "elements": "str", "default": []},
            "drop_invalid_packets": {"type": "bool", "default": False},
            "skip_dns_conntrack_zone_split": {"type": "bool", "default": False},
            "ansible_port": {"type": "int"},
            "ssh_ports": {"type": "list", "elements": "str", "default": []},
            "exclude_controller": {"type": "bool", "default": True},
            "members": {"type": "list", "elements": "str", "default": []},
            "dns_enabled": {"type": "bool"},
            "directories": {"type": "list", "elements": "path", "default": []},
            "files": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {"path": {"type": "path", "required": True}, "content": {"type": "str", "required": True}},
            },
            "program": {
                "type": "list",
                "elements": "str",
                "default": ["/usr/bin/python3", "-ISB", "/usr/local/lib/kuma-transparent-proxy/kuma_transparent_proxy.py"],
            },
            "ready_timeout": {"type": "float", "default": 60.0},
            "rollback_timeout": {"type": "int", "default": 60},
        },
        names={"user": naming.ACCOUNT, "kumactl": naming.PATH, "directories[]": naming.PATH, "files[].path": naming.PATH},
    )


if __name__ == "__main__":
    main()
