#!/usr/bin/python
# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: control_plane_plan
short_description: Check what a control plane is to be, before anything is written
version_added: 0.1.0
description:
  - Checks the variables of role C(kuma_cp) of one host, the release archive and a certificate that was given, and reports every problem at once.
  - Runs on the controller, where the archive is, and writes nothing.
extends_documentation_fragment:
  - meshfleet.kuma.attributes
  - meshfleet.kuma.attributes.info
options:
  host:
    description: The host in the inventory, which problems name.
    type: str
    required: true
  variables:
    description:
      - The variables of the role without their prefix C(kuma_cp_). One that is missing has its default.
      - Secrets are not among them, only whether they are there, such as C(postgres_password_given).
    type: dict
    required: true
  observed:
    description: What M(meshfleet.kuma.proxy_info) says about the host.
    type: dict
    required: true
  tls_cert:
    description: The certificate of the control plane as PEM text, and those that lead to O(tls_ca).
    type: str
  tls_key:
    description: Its private key as PEM text, without a passphrase.
    type: str
  tls_ca:
    description: The CA that proxies and clients of the API trust, as PEM text.
    type: str
seealso:
  - module: meshfleet.kuma.control_plane_service
author:
  - The meshfleet.kuma maintainers (@meshfleet)
"""

EXAMPLES = r"""
- name: Check a control plane that is yet to be
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Check the variables and what is known of the archive
      meshfleet.kuma.control_plane_plan:
        host: kuma-1
        variables:
          version: 2.14.3
          archive: https://mirror.example.com/kuma-{version}-linux-{arch}.tar.gz
          archive_checksum: {amd64: "{{ kuma_sha256 }}"}
          archive_cache: /var/cache/meshfleet.kuma
          names: [kuma.example.com, 10.0.0.5]
        observed: {architecture: amd64}
      register: plan
      vars:
        kuma_sha256: 0f4d9b9a5a3b9c5c9f5c1b0c8b0a3f7f6f3d3a6e1f8c7b6a5d4c3b2a19080706

    - name: Say what has to be fetched first
      ansible.builtin.debug:
        msg: "{{ plan.fetch | map(attribute='url') | join(', ') }}"
"""

RETURN = r"""
install:
  description: Whether the archive has to be unpacked.
  returned: success
  type: bool
archive:
  description: The file of the archive on the controller.
  returned: success
  type: str
  sample: /home/me/.cache/meshfleet.kuma/kuma-2.14.3-linux-amd64.tar.gz
checksum:
  description: The SHA-256 that is pinned for the architecture of the host.
  returned: success
  type: str
fetch:
  description: What the controller has to fetch first, each with C(url), C(path) and C(checksum). Check again afterwards.
  returned: success
  type: list
  elements: dict
https_address:
  description: The address on which the API is to listen for HTTPS, as far as it follows from addresses. No name is resolved.
  returned: success
  type: str
problems:
  description: Everything that is wrong.
  returned: when something is wrong
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ModuleFailed, Result
from ansible_collections.meshfleet.kuma.plugins.module_utils._join import control_plane
from ansible_collections.meshfleet.kuma.plugins.module_utils._module.host import run
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.commands import Runner


def plan(module: AnsibleModule, _runner: Runner) -> Result:
    params = module.params
    given = {name: params[name] for name in ("tls_cert", "tls_key", "tls_ca")}
    found, problems = control_plane.plan(params["host"], params["variables"], params["observed"], given, module.tmpdir, {})
    if found is None:
        raise ModuleFailed(control_plane.message(problems), {"problems": problems})
    for warning in found.warnings:
        module.warn(warning)
    result = {key: getattr(found, key) for key in ("install", "archive", "checksum", "fetch", "https_address")}
    return {"changed": False, **result}


def main() -> None:
    run(
        plan,
        {
            "host": {"type": "str", "required": True},
            "variables": {"type": "dict", "required": True},
            "observed": {"type": "dict", "required": True},
            "tls_cert": {"type": "str"},
            "tls_key": {"type": "str", "no_log": True},
            "tls_ca": {"type": "str"},
        },
    )


if __name__ == "__main__":
    main()
