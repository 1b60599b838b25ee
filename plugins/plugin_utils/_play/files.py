# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Everything that is laid down on a VM for its proxies, as the options of proxy_files. Pure but for what it is handed."""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import environment, layout

Json = t.Dict[str, t.Any]
# A template of role kuma_proxy by its name, filled in with these variables.
Render = t.Callable[[str, t.Mapping[str, t.Any]], str]
# A file of this collection by its path, as it is.
Code = t.Callable[[str], str]

_UNISSUED = "issued when this is not a check: "


class Wish(t.NamedTuple):
    """What a VM is to have.

    ``planned`` are its proxies from the plan, ``options`` are ``options.VM``, ``checksum`` is that of the archive, ``tokens`` are new ones
    by proxy, ``unissued`` the proxies that would get one if this were no check, ``observed`` is the ``host`` of proxy_info.
    """

    layout: layout.Layout
    planned: t.Sequence[Json]
    options: Json
    checksum: str
    tokens: t.Mapping[str, str]
    unissued: t.Container[str]
    observed: Json
    ports: t.Sequence[int]


def options(wish: Wish, render: Render, code: Code, to_yaml: t.Callable[[t.Any], str]) -> Json:
    """The options of proxy_files."""
    names = [proxy["name"] for proxy in wish.planned]
    return {
        "directories": wish.layout.directories(wish.observed["needrestart"]),
        "files": [*_of_proxies(wish, to_yaml), *_shared(wish, render), *restart_code(code)],
        "secrets": [*(_token(wish, name) for name in names), *_environments(wish)],
        "links": wish.layout.links(),
        "absent": wish.layout.outdated(names),
        "below": wish.layout.kept_below,
    }


def _of_proxies(wish: Wish, to_yaml: t.Callable[[t.Any], str]) -> t.Iterator[Json]:
    for proxy in wish.planned:
        dataplane = proxy["template"] or to_yaml(proxy["file"]).strip()
        yield {**wish.layout.ours(wish.layout.dataplane(proxy["name"]), "0640"), "content": dataplane + "\n"}


def _environments(wish: Wish) -> t.Iterator[Json]:
    """What users tell kuma-dp may be a secret."""
    for proxy in wish.planned:
        told = {"content": environment.of_proxy(proxy, wish.options, wish.layout)}
        shown = environment.shown(proxy, wish.options, wish.layout)
        yield {**wish.layout.ours(wish.layout.environment(proxy["name"]), "0640"), **told, "shown": shown}


def _token(wish: Wish, name: str) -> Json:
    secret = wish.layout.secret(name)
    if name in wish.tokens:
        return {**secret, "content": wish.tokens[name].strip()}
    held = wish.observed["proxies"][name]["token"]["present"]
    # In check mode no token is issued; the file would change all the same.
    return secret if held and name not in wish.unissued else {**secret, "content": _UNISSUED + name}


def _shared(wish: Wish, render: Render) -> t.Iterator[Json]:
    place = wish.layout
    if wish.options["control_plane_ca"]:
        yield {**layout.root(place.ca, "0644"), "content": wish.options["control_plane_ca"].strip() + "\n"}
    variables = {
        "kuma_proxy_config_dir": place.config_dir,
        "kuma_proxy_install_dir": place.install_dir,
        "kuma_proxy_user": place.user,
        "kuma_proxy_group": place.group,
        "kuma_proxy_drain_time": wish.options["drain_time"],
        "kuma_proxy_after": " ".join(["network-online.target", *sorted(wish.options["application_units"])]),
        "kuma_proxy_capabilities": "CAP_NET_BIND_SERVICE" if privileged(wish.ports) else "",
        "kuma_proxy_restart_command": restart_command(wish),
    }
    if wish.observed["needrestart"]:
        yield {**layout.root(layout.NEEDRESTART, "0644"), "content": render("needrestart.conf.j2", variables)}
    if any("zone_proxy" not in proxy for proxy in wish.planned):
        yield {**layout.root(place.outbounds, "0644"), "content": environment.outbounds(wish.planned)}
    for path, template in (
        (layout.UNIT, "kuma-dp@.service.j2"),
        (layout.COVER_UNIT, "kuma-dp-cover@.service.j2"),
        (layout.RESTART_UNIT, "kuma-dp-restart@.service.j2"),
        (layout.SYSCTL, "kuma-dp.sysctl.conf.j2"),
    ):
        yield {**layout.root(path, "0644"), "content": render(template, variables)}
    yield {**layout.root(place.marker, "0644"), "content": wish.checksum + "\n"}


def restart_command(wish: Wish) -> str:
    """How the program is run that restarts a proxy: without site packages, where another ansible_collections may be."""
    place = wish.layout
    return (
        f"{wish.observed['python_executable']} -ISB {layout.RESTART_PROGRAM}"
        f" --config-dir={place.config_dir} --install-dir={place.install_dir} --user={place.user}"
    )


def restart_code(code: Code) -> t.Iterator[Json]:
    """The code of this collection's modules, byte for byte. The program is replaced after what it imports."""
    for name in layout.RESTART_SOURCES:
        path = f"{layout.RESTART_DIR}/{layout.PACKAGE}/{name}.py"
        yield {**layout.root(path, "0644"), "content": code(f"plugins/module_utils/{name}.py")}
    yield {**layout.root(layout.RESTART_PROGRAM, "0644"), "content": code("roles/kuma_proxy/files/kuma_dp_restart.py")}


def privileged(ports: t.Iterable[int]) -> bool:
    """Whether a proxy of the VM may listen where only root does. The unit is one for all of them, whichever role lays it down."""
    return any(0 < port < 1024 for port in ports)
