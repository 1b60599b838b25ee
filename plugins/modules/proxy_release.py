#!/usr/bin/python
# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxy_release
short_description: Put a release of Kuma on a VM, and the account that it runs as
version_added: 0.2.0
description:
  - Makes the user and its group where they are missing, and the directory of a version, and unpacks an archive there, all in one task.
  - The archive is checked first. When it is not the one that is meant, or something in it is refused, nothing is written.
  - Every file is complete on disk before the first one takes its place, each by an atomic rename. Programs that run keep what they were
    started with. A file that is there already with the same content stays, and gets its owner and mode. Files that are not in the archive stay, too; what
    others than root could change of them they can change no more.
  - The file C(.archive-sha256), by which a version counts as installed, is removed before the first file takes its place, and is not made again.
    Write it with M(meshfleet.kuma.proxy_files) when everything else is there.
extends_documentation_fragment:
  - meshfleet.kuma.attributes
attributes:
  check_mode:
    support: full
    details:
      - An archive that is not on the VM yet is accepted in check mode. One that is there is read and checked.
  diff_mode:
    support: none
  idempotent:
    support: partial
    details:
      - Not with O(src). What is asked for is unpacked, without a comparison.
options:
  state:
    description:
      - V(present) makes what is missing. A user or a group that is there stays as it is.
      - V(absent) removes O(user) if O(comment) is its comment, and O(group) with it if the two have the same name. Others stay, as nothing tells
        who made them. Files are left to M(meshfleet.kuma.proxy_files).
    type: str
    choices: [present, absent]
    default: present
  user:
    description: The user that proxies run as. Nobody can log in as one that is made here, and it has no home.
    type: str
    required: true
  group:
    description: The group of that user.
    type: str
    required: true
  comment:
    description: The comment (GECOS) of a user that is made, by which O(state=absent) knows it. Required for that.
    type: str
  install_dir:
    description: Directory with one directory for each installed version. The directory that it is in must exist.
    type: path
    default: /opt/kuma
  version:
    description: The version, which is the name of its directory. Without it no directory is made.
    type: str
  src:
    description:
      - A release archive, a C(tar.gz) on the VM, of which everything is in one folder. It is not removed. Without it nothing is unpacked.
      - Everything belongs to root afterwards. Directories, and files that anybody may execute in the archive, have mode 0755, other files 0644.
      - Refused are absolute paths, C(..) and control characters, links that lead or may lead out of the folder, whatever is neither a file nor a directory
        nor a link, and archives with more than 10,000 members or 4 GiB.
    type: path
  checksum:
    description: The SHA-256 of O(src) in hexadecimal digits. Required with it.
    type: str
  programs:
    description: Programs that have to be in C(bin) of O(src).
    type: list
    elements: str
    default: []
requirements:
  - Linux with C(useradd) and its like where an account has to be made or removed
seealso:
  - module: meshfleet.kuma.proxy_files
  - module: meshfleet.kuma.proxy_info
author:
  - The meshfleet.kuma maintainers (@meshfleet)
"""

EXAMPLES = r"""
- name: Put a release on a VM before its maintenance
  hosts: web-1
  gather_facts: false
  become: true
  tasks:
    - name: Unpack it
      meshfleet.kuma.proxy_release:
        user: kuma-dp
        group: kuma-dp
        comment: Kuma data plane proxies
        version: 2.14.3
        src: /var/cache/kuma-2.14.3-linux-amd64.tar.gz
        checksum: "{{ lookup('ansible.builtin.file', 'kuma-2.14.3-linux-amd64.sha256') }}"
        programs: [kuma-dp, envoy]

- name: Remove the account that the first play made
  hosts: web-1
  gather_facts: false
  become: true
  tasks:
    - name: Remove it
      meshfleet.kuma.proxy_release:
        state: absent
        user: kuma-dp
        group: kuma-dp
        comment: Kuma data plane proxies
"""

RETURN = r"""
actions:
  description:
    - What was done, or would be. Some of V(directories made), V(directories repaired), V(unpacked), V(group made), V(user made), V(user removed),
      V(group removed), in this order.
  returned: when nothing is wrong with the options; what was done before a failure
  type: list
  elements: str
  sample: [directories made, unpacked, group made, user made]
replaced:
  description:
    - Whether something else than what is in O(src) was in its place, so that proxies that run it are to be restarted. In check mode, whether the
      version is not known to be from the archive with O(checksum).
  returned: success
  type: bool
problems:
  description: Why nothing was done.
  returned: when an option cannot be fulfilled
  type: list
  elements: str
"""

import contextlib
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ModuleFailed, Result
from ansible_collections.meshfleet.kuma.plugins.module_utils._module.host import run
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import account, release
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.commands import Runner

NAMES = {
    "user": naming.ACCOUNT,
    "group": naming.ACCOUNT,
    "install_dir": naming.PATH,
    "version": naming.VERSION,
    "src": naming.PLACE,
}


def bring(module: AnsibleModule, runner: Runner) -> Result:
    params = module.params
    problems = _problems(params)
    if problems:
        raise ModuleFailed("Nothing was done: %s" % "; ".join(problems), {"problems": problems})
    user, group, comment = params["user"], params["group"], params["comment"]
    actions: t.List[str] = []
    replaced = False
    try:
        # An archive that is refused leaves nothing behind, so it comes first.
        if params["state"] == "present" and params["version"] is not None:
            replaced = _install(params, module.check_mode, runner, actions)
        found = account.look(user, group)
        steps = (
            account.to_make(user, group, comment, found) if params["state"] == "present" else account.to_remove(user, group, comment, found)
        )
        for step in steps:
            if not module.check_mode:
                account.carry_out(step, runner)
            actions.append(step.action)
    except OSError as exc:
        raise ModuleFailed(str(exc), {"changed": bool(actions), "actions": actions}) from exc
    except ModuleFailed as exc:
        raise ModuleFailed(exc.msg, {"changed": bool(actions), "actions": actions}) from exc
    return {"changed": bool(actions), "actions": actions, "replaced": replaced}


def _problems(params: t.Mapping[str, t.Any]) -> t.List[str]:
    found = ["%s %s" % wrong for wrong in naming.faults(params, NAMES)]
    if params["state"] == "absent":
        if not params["comment"]:
            found.append("comment: it is empty, expected the comment of a user that may be removed")
        return found
    return found + release.problems(params)


def _install(params: t.Mapping[str, t.Any], check_mode: bool, runner: Runner, actions: t.List[str]) -> bool:
    """The directories and what is in them. ``actions`` gets what was done. Whether something else was there."""
    directory = release.directory_of(params["install_dir"], params["version"])
    archive = release.Archive(params["src"], params["checksum"].lower(), tuple(params["programs"])) if params["src"] else None
    release.check_parents(directory, account.uid_of(params["user"]))
    changes = release.directories(directory)
    done = []
    replaced = check_mode and params["checksum"] is not None and release.holds_another(directory, params["checksum"].lower())
    if changes:
        done.append("directories made" if any(change.found.kind == "absent" for change in changes) else "directories repaired")
    if check_mode and archive:
        release.inspect(archive, directory)
    with contextlib.nullcontext() if check_mode else release.made(changes):
        if archive and not check_mode:
            replaced = release.unpack(archive, directory, runner)
    actions.extend([*done, "unpacked"] if archive else done)
    return replaced


def main() -> None:
    run(
        bring,
        {
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "user": {"type": "str", "required": True},
            "group": {"type": "str", "required": True},
            "comment": {"type": "str"},
            "install_dir": {"type": "path", "default": "/opt/kuma"},
            "version": {"type": "str"},
            "src": {"type": "path"},
            "checksum": {"type": "str"},
            "programs": {"type": "list", "elements": "str", "default": []},
        },
    )


if __name__ == "__main__":
    main()
