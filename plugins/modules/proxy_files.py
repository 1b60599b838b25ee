#!/usr/bin/python
# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxy_files
short_description: Write all files of the proxies of a VM in one step
version_added: 0.1.0
description:
  - Creates and replaces files, secrets, links and directories, and removes paths, all in one task.
  - Everything is checked before the first write. New content is complete on disk before the first file takes its place, each by an
    atomic rename; when one cannot, the ones before it are put back.
  - The content, owner, group and mode of what is there are repaired. A path that is right is not touched.
extends_documentation_fragment:
  - meshfleet.kuma.attributes
attributes:
  check_mode:
    support: full
    details:
      - Owners that do not exist yet are accepted in check mode.
  diff_mode:
    support: full
    details:
      - Of a secret it shows the size alone, or with O(secrets[].shown) the names of its variables. Tokens, private keys, users in URLs and the
        values of variables that are named like secrets are hidden in other files as well.
  idempotent:
    support: full
options:
  directories:
    description: Directories. A parent must exist or be in the list too.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The absolute path.
        type: path
        required: true
      mode:
        description: The mode, three or four octal digits. A file that is new and has none gets V(0644).
        type: str
      owner:
        description: The name or number of the user.
        type: str
      group:
        description: The name or number of the group.
        type: str
  files:
    description: Files.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The absolute path.
        type: path
        required: true
      mode:
        description: The mode, three or four octal digits. A file that is new and has none gets V(0644).
        type: str
      owner:
        description: The name or number of the user.
        type: str
      group:
        description: The name or number of the group.
        type: str
      content:
        description: The content.
        type: str
        required: true
  secrets:
    description: Files whose content is shown nowhere.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The absolute path.
        type: path
        required: true
      mode:
        description: The mode, three or four octal digits. A file that is new and has none gets V(0644).
        type: str
      owner:
        description: The name or number of the user.
        type: str
      group:
        description: The name or number of the group.
        type: str
      content:
        description: The content. Without it the file keeps what it has, and only owner, group and mode are repaired.
        type: str
      shown:
        version_added: 0.2.0
        description:
          - Says that the file is an environment file of systemd. The diff then has the names of its variables, whether their values
            change, and the values of the variables that are named here.
        type: list
        elements: str
  links:
    description: Symbolic links. One that points elsewhere is switched atomically.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The absolute path of the link.
        type: path
        required: true
      target:
        description: What it points to.
        type: str
        required: true
  absent:
    description:
      - Files, links and directories that are removed, directories with everything in them.
      - Each is strictly below one of O(below). Only what this collection lays down in directories of the system needs none, such as
        C(/etc/systemd/system/kuma-dp@.service) and C(/var/lib/kuma-dp).
      - Files with the names C(outbounds.env) and C(control-plane-ca.pem) may also be beside one of O(below), in the same directory.
    type: list
    elements: path
    default: []
  below:
    version_added: 0.2.0
    description:
      - Directories strictly below which O(absent) may remove. Links do not lead out of them.
      - Refused are directories of the system, such as C(/), C(/etc), C(/opt), C(/var/lib), C(/etc/systemd), and homes. Where others than
        the system itself may have directories below them, such as C(/usr/share) and C(/etc/ssl), those with the names C(dataplanes),
        C(env) and C(tokens) in a directory of their own are accepted.
    type: list
    elements: path
    default: []
  absent_if_empty:
    version_added: 0.2.0
    description:
      - Directories that are removed when nothing is in them, or nothing but what this call removes and what an interrupted write left.
      - Refused are the same directories as in O(below).
    type: list
    elements: path
    default: []
  absent_releases:
    version_added: 0.2.0
    description:
      - Directories of releases, which others may use as well. Removed are the versions in it that hold the file C(.archive-sha256), which is
        written when a version was unpacked completely, and the link C(current) to one of them.
      - The directory itself goes when nothing is left in it and it is no directory of the system.
    type: list
    elements: path
    default: []
  absent_unfinished:
    version_added: 0.2.0
    description:
      - Versions directly below one of O(absent_releases) whose unpacking may have been interrupted, so that they lack C(.archive-sha256).
      - Such a directory is removed when it is empty, or holds C(bin) and nothing that an archive of Kuma or Kong Mesh does not have.
    type: list
    elements: path
    default: []
  daemon_reload:
    version_added: 0.2.0
    description:
      - Whether systemd reads its unit files again, when one of the paths that were changed is below C(/etc/systemd/system). Nothing happens
        where systemd does not run.
    type: bool
    default: false
requirements:
  - Linux
seealso:
  - module: meshfleet.kuma.proxy_info
author:
  - The meshfleet.kuma maintainers (@meshfleet)
"""

EXAMPLES = r"""
- name: Give a proxy another token
  hosts: web-1
  gather_facts: false
  become: true
  tasks:
    - name: Write it
      meshfleet.kuma.proxy_files:
        directories:
          - {path: /etc/kuma, mode: "0755"}
          - {path: /etc/kuma/tokens, mode: "0750"}
        secrets:
          - path: /etc/kuma/tokens/web-1
            content: "{{ lookup('ansible.builtin.file', 'web-1.token') }}"
            mode: "0600"

- name: Take the token of a proxy away that is no more
  hosts: web-1
  gather_facts: false
  become: true
  tasks:
    - name: Remove it, and the directory with the last one
      meshfleet.kuma.proxy_files:
        absent: [/etc/kuma/tokens/web-2]
        below: [/etc/kuma/tokens]
        absent_if_empty: [/etc/kuma/tokens]
"""

RETURN = r"""
changed_paths:
  description: The paths that were changed, or would be.
  returned: success
  type: list
  elements: str
  sample: [/etc/kuma/tokens/web-1]
daemon_reloaded:
  description: Whether systemd has read its unit files again.
  returned: success
  type: bool
problems:
  description: Why nothing was written.
  returned: when an option cannot be fulfilled
  type: list
  elements: str
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ModuleFailed, Result
from ansible_collections.meshfleet.kuma.plugins.module_utils._module.host import run
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import files, showing, systemd
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.commands import Runner

# Paths are judged by what is done to them, in _vm/removal.py.
NAMES = {"links[].target": naming.PLACE}
NAMES.update({"%s[].%s" % (option, key): naming.ACCOUNT for option in ("directories", "files", "secrets") for key in ("owner", "group")})


def write(module: AnsibleModule, runner: Runner) -> Result:
    try:
        removals, problems = files.removals_of(module.params)
        problems.extend("%s %s" % wrong for wrong in naming.faults(module.params, NAMES))
        changes = files.plan([*files.wishes_of(module.params), *removals], module.check_mode, problems)
        result = {
            "changed": bool(changes),
            "changed_paths": [change.wish.path for change in changes],
            "diff": showing.diff(changes),
            "daemon_reloaded": False,
        }
        if not module.check_mode:
            files.apply(changes)
    except files.Problems as exc:
        raise ModuleFailed("Nothing was written: %s" % exc, {"problems": exc.problems}) from exc
    except (files.WriteFailed, OSError) as exc:
        raise ModuleFailed(str(exc)) from exc
    if module.params["daemon_reload"] and not module.check_mode:
        _reload(result, runner)
    return result


def _reload(result: Result, runner: Runner) -> None:
    if any(path.startswith(systemd.UNITS + "/") for path in result["changed_paths"]):
        result["daemon_reloaded"], problem = systemd.read_again(runner)
        if problem:
            message = "daemon_reload: everything was written, but systemctl daemon-reload failed (%s): run it on the VM" % problem
            raise ModuleFailed(message, {key: result[key] for key in ("changed", "changed_paths")})


def _attributes() -> t.Dict[str, t.Any]:
    return {"path": {"type": "path", "required": True}, "mode": {"type": "str"}, "owner": {"type": "str"}, "group": {"type": "str"}}


def _secret() -> t.Dict[str, t.Any]:
    return {"content": {"type": "str", "no_log": True}, "shown": {"type": "list", "elements": "str"}}


def _list_of(options: t.Dict[str, t.Any]) -> t.Dict[str, t.Any]:
    return {"type": "list", "elements": "dict", "default": [], "options": options}


def _paths() -> t.Dict[str, t.Any]:
    return {"type": "list", "elements": "path", "default": []}


def main() -> None:
    run(
        write,
        {
            "directories": _list_of(_attributes()),
            "files": _list_of(dict(_attributes(), content={"type": "str", "required": True})),
            # The paths of secrets are not secret.
            "secrets": dict(_list_of(dict(_attributes(), **_secret())), no_log=False),
            "links": _list_of({"path": {"type": "path", "required": True}, "target": {"type": "str", "required": True}}),
            "absent": _paths(),
            "below": _paths(),
            "absent_if_empty": _paths(),
            "absent_releases": _paths(),
            "absent_unfinished": _paths(),
            "daemon_reload": {"type": "bool", "default": False},
        },
    )


if __name__ == "__main__":
    main()
