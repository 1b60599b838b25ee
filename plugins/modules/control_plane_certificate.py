#!/usr/bin/python
# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: control_plane_certificate
short_description: Give a control plane a CA and a certificate of its own
version_added: 0.1.0
description:
  - Makes a CA on the VM, once, and a certificate for the names by which proxies and clients of the API reach the control plane.
  - The private keys are made on the VM and never leave it. Only the CA is returned.
  - The certificate is signed anew by the same CA when the names change or its end is near, so that proxies trust it all the same.
extends_documentation_fragment:
  - meshfleet.kuma.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  directory:
    description: Where the files are, a directory that exists.
    type: path
    required: true
  names:
    description: Names and IP addresses that the certificate is for.
    type: list
    elements: str
    required: true
  subject:
    description: The subject of the certificate, and with C(CA) behind it of the CA.
    type: str
    required: true
  group:
    description: The group that may read the key of the certificate. The key of the CA is for root alone.
    type: str
    required: true
  valid_days:
    description: For how many days a certificate is signed. The CA is good for ten years.
    type: int
    default: 825
  renew_before_days:
    description: It is signed anew when fewer days than this are left.
    type: int
    default: 60
requirements:
  - Linux with openssl
seealso:
  - module: meshfleet.kuma.control_plane_service
author:
  - The meshfleet.kuma maintainers (@meshfleet)
"""

EXAMPLES = r"""
- name: Give the control plane another name
  hosts: kuma_control_plane
  gather_facts: false
  become: true
  tasks:
    - name: Sign a certificate
      meshfleet.kuma.control_plane_certificate:
        directory: /etc/kuma-cp/tls
        subject: kuma-cp
        names: [kuma.example.com, 10.0.0.5, localhost, 127.0.0.1]
        group: kuma-cp
"""

RETURN = r"""
ca:
  description: The CA as PEM text. Empty in check mode while there is none.
  returned: success
  type: str
names:
  description: What the certificate is for.
  returned: success
  type: list
  elements: str
  sample: [10.0.0.5, kuma.example.com]
not_after:
  description: The day on which the certificate ends.
  returned: when there is one
  type: str
  sample: "2029-02-28"
reasons:
  description: Why it was signed.
  returned: success
  type: list
  elements: str
"""

import grp
import os
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ModuleFailed, Result
from ansible_collections.meshfleet.kuma.plugins.module_utils._control_plane import authority
from ansible_collections.meshfleet.kuma.plugins.module_utils._module.host import run
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import safely
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.commands import Runner


def certify(module: AnsibleModule, runner: Runner) -> Result:
    params = module.params
    names: t.List[str] = list(dict.fromkeys(params["names"]))
    paths = authority.paths_in(params["directory"])
    found = authority.examine(paths, names, params["renew_before_days"], time.time())
    if found.reasons and not module.check_mode:
        try:
            authority.Authority(paths, runner, _owner(params["group"])).sign(params["subject"], names, params["valid_days"], found.new_ca)
        except (OSError, KeyError) as exc:
            raise ModuleFailed("the certificate could not be written to %s: %s" % (params["directory"], exc)) from exc
    after = authority.examine(paths, names, params["renew_before_days"], time.time()) if not module.check_mode else found
    return {
        "changed": bool(found.reasons),
        "reasons": found.reasons,
        "names": sorted(names),
        "not_after": authority.day(after.seen.not_after) if after.seen else None,
        "ca": _read(paths.ca),
        "diff": {"before_header": paths.certificate, "after_header": paths.certificate, **_difference(found, names)},
    }


def _difference(found: authority.Finding, names: t.Sequence[str]) -> t.Dict[str, str]:
    before = "".join("%s\n" % name for name in sorted(found.seen.names)) if found.seen else ""
    after = "".join("%s\n" % name for name in sorted(names))
    if found.reasons and found.seen:
        before += "until %s\n" % authority.day(found.seen.not_after)
    return {"before": before, "after": after}


def _owner(group: str) -> t.Callable[[str, bool], None]:
    def own(path: str, for_server: bool) -> None:
        os.chown(path, 0, grp.getgrnam(group).gr_gid if for_server else 0)

    return own


def _read(path: str) -> str:
    try:
        return safely.read(path).decode("ascii")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as exc:
        raise ModuleFailed("the CA %s cannot be read: %s" % (path, exc)) from exc


def main() -> None:
    run(
        certify,
        {
            "directory": {"type": "path", "required": True},
            "names": {"type": "list", "elements": "str", "required": True},
            "subject": {"type": "str", "required": True},
            "group": {"type": "str", "required": True},
            "valid_days": {"type": "int", "default": 825},
            "renew_before_days": {"type": "int", "default": 60},
        },
        names={"directory": naming.PATH, "group": naming.ACCOUNT},
    )


if __name__ == "__main__":
    main()
