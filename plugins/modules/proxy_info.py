#!/usr/bin/python
# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxy_info
short_description: Look at a VM and the proxies on it
version_added: 0.1.0
description:
  - Returns everything that a join or a restart has to know about a VM in one task, whatever the number of proxies on it.
  - Whether a proxy runs with its current files is told by its process and by the files, not by what an earlier task wanted.
  - Tokens are never returned, only their claims. Of environment variables that role C(kuma_dp) does not set itself the names are returned alone.
  - Files that others than root can write are looked at as regular files of limited size alone. A link, a fifo or a file without end is not followed, waited
    for or read, and counts as missing.
extends_documentation_fragment:
  - meshfleet.kuma.attributes
  - meshfleet.kuma.attributes.info
options:
  names:
    description: Proxies to look at. Others that have files in O(config_dir) are returned as well.
    type: list
    elements: str
    default: []
  config_dir:
    description: Directory of the configuration.
    type: path
    default: /etc/kuma
  install_dir:
    description: Directory with one directory for each installed version, and the link C(current).
    type: path
    default: /opt/kuma
  user:
    description: The user that proxies run as.
    type: str
    default: kuma-dp
  group:
    description: The group of that user.
    type: str
    default: kuma-dp
  diagnose:
    description: Also return the last lines that each proxy logged, without tokens.
    type: bool
    default: false
  paths:
    version_added: 0.2.0
    description:
      - Absolute paths to look at, for a comparison with what M(meshfleet.kuma.proxy_files) would write there.
    type: list
    elements: path
    default: []
  secret_paths:
    version_added: 0.2.0
    description: The same for paths whose content is secret. Nothing is told that depends on it, also when they are in O(paths) as well.
    type: list
    elements: path
    default: []
  digest_key:
    version_added: 0.2.0
    description:
      - With this key the digests of O(paths) are those of HMAC. Without it, whoever sees a result may try what secret a file holds.
    type: str
  dp_server_url:
    version_added: 0.2.0
    description:
      - The address of a control plane for proxies. It is looked at from the VM, at every address of its name, with a handshake alone.
    type: str
  dp_server_ca:
    version_added: 0.2.0
    description: The authorities with which its certificate is verified, as PEM text. Has to be set for https.
    type: str
    default: ""
requirements:
  - Linux with systemd
seealso:
  - module: meshfleet.kuma.proxy_files
  - module: meshfleet.kuma.proxy_service
author:
  - The meshfleet.kuma maintainers (@meshfleet)
"""

EXAMPLES = r"""
- name: Show which proxies wait for a restart
  hosts: mesh_fleet
  gather_facts: false
  become: true
  tasks:
    - name: Look at the VM
      meshfleet.kuma.proxy_info:
      register: vm

    - name: Say why
      ansible.builtin.debug:
        msg: "{{ item.key }}: {{ item.value.restart_reasons | join(', ') }}"
      loop: "{{ vm.host.proxies | dict2items }}"
      loop_control:
        label: "{{ item.key }}"
      when: item.value.restart_pending
"""

RETURN = r"""
host:
  description: The VM.
  returned: success
  type: dict
  contains:
    architecture: {description: The architecture by Kuma's names., returned: always, type: str, sample: amd64}
    kernel: {description: The version of the kernel., returned: always, type: str, sample: 6.1.0-18-amd64}
    glibc: {description: The version of the GNU C library., returned: when it has one, type: str, sample: "2.36"}
    python: {description: The version of Python., returned: always, type: str, sample: 3.11.2}
    python_executable: {description: The program of Python., returned: always, type: str, sample: /usr/bin/python3.11}
    systemd: {description: The version of systemd., returned: when it has one, type: int, sample: 252}
    memory_available_bytes: {description: Memory that is available., returned: when known, type: int}
    time: {description: The clock of the VM in seconds since 1970., returned: always, type: float}
    addresses: {description: Its addresses without loopback and link-local ones., returned: always, type: list, elements: str}
    default_address: {description: The address of its default route., returned: when it has an address, type: str}
    user_exists: {description: Whether O(user) exists., returned: always, type: bool}
    user_comment: {description: What its comment says; empty without such a user., returned: always, type: str, sample: Kuma data plane proxies}
    group_exists: {description: Whether O(group) exists., returned: always, type: bool}
    transparent_proxy:
      description: Whether transparent proxying was set up here.
      returned: always
      type: bool
    control_plane: {description: Whether a control plane runs a program of O(install_dir) here., returned: always, type: bool}
    needrestart: {description: Whether needrestart is configured here., returned: always, type: bool}
    listening:
      description: The listening TCP sockets.
      returned: always
      type: list
      elements: dict
      contains:
        address: {description: The address., returned: always, type: str}
        port: {description: The port., returned: always, type: int}
        process: {description: The name of the process., returned: when it can be seen, type: str}
    outbounds: {description: The ports of called services as C(outbounds.env) tells applications., returned: always, type: dict}
    versions:
      description: The versions that were unpacked completely, that every user can run and root alone can change.
      returned: always
      type: list
      elements: str
    archives: {description: The SHA-256 of the archive of each version., returned: always, type: dict}
    current: {description: The version that starts next., returned: when there is one, type: str}
    dp_server:
      description: What is at O(dp_server_url).
      returned: always, null without O(dp_server_url)
      type: dict
      contains:
        host: {description: Its host., returned: always, type: str}
        port: {description: Its port., returned: always, type: int}
        problem: {description: Why the host has no address; empty where it has., returned: always, type: str}
        servers:
          description:
            - "For each address C(address), C(outcome), C(detail) in the words of the operating system or of OpenSSL, C(certificate), which it shows
              (null where it shows none), and C(trusted_by), the SHA-256 of each certificate of O(dp_server_ca) that makes it trusted alone."
            - "C(outcome) is V(trusted), V(plain) (without TLS), V(refused), V(timeout), V(unreachable), V(skipped), V(silent), V(cut), V(no_tls),
              V(tls), V(api) (the API of the control plane is there), V(foreign), V(name), V(expired), V(not_yet) or V(untrusted)."
          returned: always
          type: list
          elements: dict
    paths:
      description:
        - "O(paths) and O(secret_paths), each as it is given, with C(kind) (V(file), V(directory), V(link), V(absent) or V(other), which is also what
          cannot be looked at), C(mode) such as V(0644), and C(owner) and C(group), which are names, or numbers as text where nobody has them."
        - "Those of O(paths) have C(sha256) of the content of a file that can be read (with O(digest_key) its HMAC-SHA-256), or C(target) of a
          link, as well."
      returned: always
      type: dict
      sample: {/etc/kuma: {kind: directory, mode: "0755", owner: root, group: root}, /etc/kuma/outbounds.env: {kind: absent}}
    proxies:
      description:
        - "The proxies by name, each with C(unit) (C(active), C(state), C(result), C(enabled), C(failed), C(restarts), C(pid), C(started)),
          C(environment), C(token) (C(present), C(claims), C(kid) of the key that signed it, C(mode), C(owner), C(problem), and C(reloaded), whether the
          running process takes a new one without a restart), C(files), C(version) of the running process,
          C(lifecycle) (V(direct) or V(indirect), as the running process was started; none when it does not run),
          C(restart_pending) with C(restart_reasons), and C(journal) when O(diagnose) is set."
        - "C(cover) tells whether the running proxy can be restarted under cover: C(possible), C(reasons) why not, and C(notes) about the VM.
          The Dataplane and the token of the cover do not count. C(cover_active) is true while a cover runs, and C(restart) is the last restart
          (C(stage), C(outcome), C(problem)), or null."
        - "C(serves) is true when Envoy listens with its configuration, false when it certainly listens nowhere, because it does not run or never got a
          configuration, and null when that is not known. C(connected) is whether Envoy says that it is connected to the control plane, and null when it
          does not say. Where it is not, C(refusal) is why by what the proxy logged since it was started, or null: C(code) (V(expired), V(revoked),
          V(foreign), V(mesh), V(claims), V(signature), V(key), V(early), V(broken), V(authority), V(dates), V(host), V(port), V(unreachable),
          V(unregistered), V(busy) or V(other)), C(said), the text of Kuma, and C(token), whether another token may help. These three were added in 0.2.0."
      returned: always
      type: dict
"""

import grp
import os
import platform
import pwd
import sys
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ModuleFailed, Result
from ansible_collections.meshfleet.kuma.plugins.module_utils._module.host import run
from ansible_collections.meshfleet.kuma.plugins.module_utils._restart import files, machine
from ansible_collections.meshfleet.kuma.plugins.module_utils._restart import vm as restart_vm
from ansible_collections.meshfleet.kuma.plugins.module_utils._restart.facts import why_no_cover
from ansible_collections.meshfleet.kuma.plugins.module_utils._transparent import vm as transparent_vm
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import dp_server, journal, refusals, safely, seen, systemd
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import host as vm_host
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import proxy as vm_proxy
from ansible_collections.meshfleet.kuma.plugins.module_utils._vm.commands import Runner

NEEDRESTART = "/etc/needrestart"
OUTBOUNDS = "outbounds.env"
# What role kuma_cp lays down.
CONTROL_PLANE = "/etc/systemd/system/kuma-cp.service"


def look(module: AnsibleModule, runner: Runner) -> Result:
    params = module.params
    problems = [problem for option in ("paths", "secret_paths") for problem in seen.problems(option, params[option])]
    if problems:
        raise ModuleFailed("Nothing was looked at: %s" % "; ".join(problems))
    processes = vm_host.Processes()
    observer = vm_proxy.Observer(params["config_dir"], params["install_dir"], processes, runner)
    archives = vm_proxy.installed(params["install_dir"])
    addresses = processes.addresses()
    host: t.Dict[str, t.Any] = {
        "architecture": vm_host.architecture(platform.machine()),
        "kernel": platform.release(),
        "glibc": vm_host.glibc_version(),
        "python": platform.python_version(),
        "python_executable": sys.executable,
        "systemd": vm_proxy.systemd_version(runner),
        "memory_available_bytes": processes.memory_available(),
        "time": time.time(),
        "addresses": addresses,
        "default_address": vm_host.default_address(addresses),
        "user_exists": _exists(pwd.getpwnam, params["user"]),
        "user_comment": pwd.getpwnam(params["user"]).pw_gecos if _exists(pwd.getpwnam, params["user"]) else "",
        "group_exists": _exists(grp.getgrnam, params["group"]),
        "needrestart": safely.is_directory(NEEDRESTART),
        "control_plane": params["install_dir"].rstrip("/") + "/" in (safely.text_of(CONTROL_PLANE, follow=True) or ""),
        "transparent_proxy": bool(transparent_vm.Vm(runner).laid_down()),
        "listening": processes.listening(),
        "outbounds": {
            key: value
            for key, value in systemd.parse_environment(safely.text_of(os.path.join(params["config_dir"], OUTBOUNDS)) or "").items()
            if key.endswith("_PORT")
        },
        "versions": sorted(archives),
        "archives": archives,
        "dp_server": dp_server.Looker(params["dp_server_url"], params["dp_server_ca"]).look() if params["dp_server_url"] else None,
        "current": vm_proxy.current_version(params["install_dir"]),
        "paths": seen.describe(params["paths"], params["secret_paths"], params["digest_key"] or ""),
        "proxies": observer.proxies(params["names"], params["diagnose"]),
    }
    for name, proxy in host["proxies"].items():
        proxy.update(_traffic(name, proxy, params, runner))
    return {"changed": False, "host": host}


def _traffic(name: str, proxy: t.Mapping[str, t.Any], params: t.Mapping[str, t.Any], runner: Runner) -> t.Dict[str, t.Any]:
    """Whether the proxy serves, and if not why; whether it can be covered, and what became of its last restart."""
    vm = restart_vm.Vm(files.Paths(name, params["config_dir"], params["install_dir"]), params["user"], runner)
    facts, state = vm.look("begin"), vm.load()
    reasons = why_no_cover(facts, material=False)
    main = facts.main
    # A healthy proxy costs no look into its journal, nor does a new one.
    asked = params["diagnose"] or (main.connected is not True and proxy["token"]["present"])
    refusal = refusals.found(journal.logged(systemd.UNIT % name, runner)) if asked else None
    return {
        "serves": True if main.serves else False if main.serves_nobody or not main.pid else None,
        "connected": main.connected,
        "refusal": None if refusal is None else {**refusal._asdict(), "token": refusal.code in refusals.TOKEN},
        "cover": {"possible": not reasons, "reasons": reasons, "notes": vm.kernel_notes()},
        "cover_active": not facts.cover.gone,
        "restart": None if state is None else machine.outcome_of(state, vm.boot),
    }


def _exists(find: t.Callable[[str], t.Any], name: str) -> bool:
    try:
        find(name)
    except KeyError:
        return False
    return True


def main() -> None:
    run(
        look,
        {
            "names": {"type": "list", "elements": "str", "default": []},
            "config_dir": {"type": "path", "default": "/etc/kuma"},
            "install_dir": {"type": "path", "default": "/opt/kuma"},
            "user": {"type": "str", "default": "kuma-dp"},
            "group": {"type": "str", "default": "kuma-dp"},
            "diagnose": {"type": "bool", "default": False},
            "dp_server_url": {"type": "str"},
            "dp_server_ca": {"type": "str", "default": ""},
            "paths": {"type": "list", "elements": "path", "default": []},
            # The paths of secrets are not secret.
            "secret_paths": {"type": "list", "elements": "path", "default": [], "no_log": False},
            "digest_key": {"type": "str", "no_log": True},
        },
        names={
            "names[]": naming.PROXY,
            "config_dir": naming.PATH,
            "install_dir": naming.PATH,
            "user": naming.ACCOUNT,
            "group": naming.ACCOUNT,
        },
    )


if __name__ == "__main__":
    main()
