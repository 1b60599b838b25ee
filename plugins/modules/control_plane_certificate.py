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
  rollover:
    version_added: 0.2.0
    description:
      - Takes the control plane from its CA to another one, in steps between which clients have to learn to trust both.
      - V(prepare) makes the next CA, unless one is made already or the present one is its result. V(switch) signs with it, and it becomes the
        CA; the former one is kept as one to trust. V(finish) forgets that. Each does nothing where it was done before.
      - Without it, V(none), a rollover that is under way stays where it is.
    type: str
    choices: [none, prepare, switch, finish]
    default: none
  again:
    version_added: 0.2.0
    description: Whether O(rollover=prepare) makes a next CA also when the present one is younger than a day.
    type: bool
    default: false
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
  description: The CA as PEM text, which signs. Empty in check mode while there is none.
  returned: success
  type: str
next:
  description: The CA that is to succeed it, as PEM text. Empty unless a rollover is prepared.
  returned: success
  type: str
trusted:
  description: What clients have to trust, as PEM text; RV(ca) alone while no rollover is under way.
  returned: success
  type: str
stage:
  description: How far a rollover is, V(prepared) or V(switched). Empty while none is under way.
  returned: success
  type: str
ca_not_after:
  description: The day on which the CA ends.
  returned: when there is one
  type: str
  sample: "2036-02-28"
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

import contextlib
import grp
import os
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import certificates, naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ModuleFailed, Result
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.times import format_day
from ansible_collections.meshfleet.kuma.plugins.module_utils._control_plane import authority
from ansible_collections.meshfleet.kuma.plugins.module_utils._module.host import run
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import safely
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.commands import Runner

NONE = "none"
PREPARE = "prepare"
SWITCH = "switch"
FINISH = "finish"


def certify(module: AnsibleModule, runner: Runner) -> Result:
    params = module.params
    names: t.List[str] = list(dict.fromkeys(params["names"]))
    paths, rollover = authority.paths_in(params["directory"]), authority.rollover_in(params["directory"])
    signer = authority.Authority(paths, runner, _owner(params["group"]))
    now = time.time()
    try:
        if not module.check_mode:
            signer.settle(rollover)
        moved = _roll_over(module, signer, rollover, names, now)
        found = authority.examine(paths, names, params["renew_before_days"], now)
        if found.reasons and not module.check_mode:
            signer.sign(params["subject"], names, params["valid_days"], found.new_ca)
    except (OSError, KeyError) as exc:
        raise ModuleFailed("the certificate could not be written to %s: %s" % (params["directory"], exc)) from exc
    after = authority.examine(paths, names, params["renew_before_days"], time.time()) if not module.check_mode else found
    ca, following, previous = (_read(path) for path in (paths.ca, rollover.next, rollover.previous))
    ends = [one.not_after for one in _parsed(ca)]
    if ends and ends[0] - now < params["renew_before_days"] * 86400 and not following:
        module.warn("the CA of the control plane ends on %s: run meshfleet.kuma.rotate_ca before" % format_day(ends[0]))
    return {
        "changed": bool(found.reasons or moved),
        "reasons": [*moved, *found.reasons],
        "names": sorted(names),
        "not_after": authority.day(after.seen.not_after) if after.seen else None,
        "ca": ca,
        "next": following,
        "trusted": certificates.bundle(previous, ca, following),
        "stage": rollover.stage,
        "ca_not_after": format_day(ends[0]) if ends else None,
        "diff": {"before_header": paths.certificate, "after_header": paths.certificate, **_difference(found, names)},
    }


def _roll_over(
    module: AnsibleModule, signer: authority.Authority, rollover: authority.Rollover, names: t.Sequence[str], now: float
) -> t.List[str]:
    """What a step of a rollover does, in words; nothing where it was done before."""
    params, stage, paths = module.params, rollover.stage, signer.paths
    step = params["rollover"]
    if step == PREPARE and not stage and safely.exists(paths.ca) and (params["again"] or not _fresh(paths.ca, now)):
        if not module.check_mode:
            signer.prepare(rollover, params["subject"])
        return ["a CA was made that is to succeed it"]
    if step == SWITCH and stage == authority.PREPARED:
        if not module.check_mode:
            signer.switch(rollover, params["subject"], names, params["valid_days"])
        return ["the next CA signs from now on"]
    if step == FINISH and stage == authority.SWITCHED:
        if not module.check_mode:
            safely.remove(rollover.previous)
        return ["the former CA is not needed any more"]
    return []


def _fresh(ca: str, now: float) -> bool:
    return any(now - one.not_before < authority.FRESH for one in _parsed(_read(ca)))


def _parsed(pem: str) -> t.List[certificates.Certificate]:
    with contextlib.suppress(ValueError):
        return certificates.of_pem(pem)
    return []


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
            "rollover": {"type": "str", "choices": [NONE, PREPARE, SWITCH, FINISH], "default": NONE},
            "again": {"type": "bool", "default": False},
        },
        names={"directory": naming.PATH, "group": naming.ACCOUNT},
    )


if __name__ == "__main__":
    main()
