# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a migration to 3.0 breaks: each sort of finding, and that fleets as the role writes them for 3.0 have none. Pure."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane import resource, schema
from ansible_collections.meshfleet.kuma.plugins.module_utils._migration import report as migration_report
from ansible_collections.meshfleet.kuma.plugins.module_utils._migration.findings import CHANGES, INFO, LOUD, SILENT

WORKLOAD = "kuma.io/workload"
NOW = (2, 14, 3)


def inbound(port=8080, service="web", protocol=None, **tags):
    tags = {"kuma.io/service": service, "kuma.io/zone": "z1", **tags}
    if protocol:
        tags["kuma.io/protocol"] = protocol
    return {"port": port, "servicePort": port + 10000, "serviceAddress": "127.0.0.1", "tags": tags}


def overview(name, *inbounds, labels=None, version=None, root=None, **networking):
    labels = {WORKLOAD: "web", "kuma.io/zone": "z1"} if labels is None else labels
    networking = {"address": "10.0.0.1", **({"inbound": list(inbounds)} if inbounds else {}), **networking}
    found = {"name": name, "mesh": "m", "labels": labels, "dataplane": {"networking": networking, **(root or {})}}
    if version:
        found["dataplaneInsight"] = {"subscriptions": [{"version": {"kumaDp": {"version": version}}}]}
    return found


def examine(*overviews, hosts=(), release=NOW, mesh=None, strangers=True, **lists):
    mesh = {"name": "m", "meshServices": {"mode": "Exclusive"}, **(mesh or {})}
    world = migration_report.World(release=release, mesh=mesh, overviews=overviews, **lists)
    invisible = {"signing-keys", "token-claims", "zone-tokens", "program-options"}
    return [finding for finding in migration_report.examine(world, hosts, strangers) if finding.code not in invisible]


def codes(*overviews, **options):
    return [(finding.severity, finding.code) for finding in examine(*overviews, **options)]


def one(*overviews, **options):
    """The only finding."""
    (finding,) = examine(*overviews, **options)
    return finding


def host(name="web-1", in_play=True, **variables):
    variables = {"name": name, "mesh": "m", "address": "10.0.0.1", **variables}
    return {"host": f"host-{name}", "in_play": in_play, "variables": variables}


def test_a_plain_proxy_has_no_finding():
    assert examine(overview("web-1", inbound())) == []


def test_a_missing_workload_label():
    finding = one(overview("web-1", inbound(), labels={}))
    assert (finding.severity, finding.code, finding.field) == (SILENT, "workload-label", 'labels["kuma.io/workload"]')
    assert "2.13" not in finding.remedy
    assert "2.13 or later" in one(overview("web-1", inbound(), labels={}), release=(2, 12, 14)).remedy
    assert codes(overview("job-1", labels={})) == [(CHANGES, "workload-label")]


def test_names_that_are_not_rfc_1035():
    assert codes(overview("a", inbound(service="1_web"), labels={WORKLOAD: "1_web"})) == [(LOUD, "service-name"), (LOUD, "workload-name")]
    assert codes(mesh={"name": "My_mesh"}) == [(LOUD, "mesh-name")]
    assert one(zones=["zone.one"]).code == "zone-name"
    assert one(overview("web-1", inbound(), labels={WORKLOAD: "web", "kuma.io/zone": "Z"})).name == "Z"


def test_a_second_service_is_a_port_of_the_workload():
    finding = one(overview("web-1", inbound(), inbound(9090, "metrics")))
    assert (finding.severity, finding.code, finding.field) == (
        SILENT,
        "service-of-workload",
        'networking.inbound[1].tags["kuma.io/service"]',
    )
    assert "backend_ref: {name: web, port: 9090}" in finding.remedy


def test_tags_become_labels():
    finding = one(overview("web-1", inbound(version="v1", team="a")))
    assert (finding.severity, finding.code, finding.found) == (SILENT, "tags", "team=a, version=v1")
    assert codes(overview("web-1", inbound(version="v1"), labels={WORKLOAD: "web", "version": "v1"})) == []
    assert "(but the label is v2)" in one(overview("web-1", inbound(version="v1"), labels={WORKLOAD: "web", "version": "v2"})).found


def test_tags_that_inbounds_disagree_about_are_lost():
    for second in ({"version": "v2"}, {}):
        finding = one(overview("web-1", inbound(version="v1"), inbound(9090, **second)))
        assert (finding.severity, finding.code) == (SILENT, "tags-disagree")
        assert finding.found == f"v1 on port 8080, {second.get('version', 'none')} on port 9090"


def test_a_tag_that_is_no_label():
    assert codes(overview("web-1", inbound(path="a:b"))) == [(LOUD, "tag-no-label")]


def test_the_protocol_moves():
    finding = one(overview("web-1", inbound(protocol="http")))
    assert (finding.severity, finding.code) == (SILENT, "protocol")
    assert "plain TCP" in finding.then
    assert codes(overview("web-1", inbound(protocol="tcp"))) == []
    assert codes(overview("web-1", {**inbound(protocol="http"), "protocol": "http"})) == []
    assert "plain tcp" in one(overview("web-1", {**inbound(protocol="http"), "protocol": "tcp"})).then


def call(**outbound):
    return overview("job-1", labels={WORKLOAD: "job"}, outbound=[{"port": 10001, **outbound}])


@pytest.mark.parametrize(
    ("others", "services", "remedy"),
    [
        ([overview("web-1", inbound())], [], "backendRef {kind: MeshService, name: web, port: 8080}, which is made from the label"),
        (
            [overview("web-1", inbound())],
            [{"name": "web", "spec": {"ports": [{"port": 8080}]}}],
            "backendRef {kind: MeshService, name: web, port: 8080}, which is there already: run join_mesh.yml",
        ),
        ([], [{"name": "web", "spec": {"ports": [{"port": 80}]}}], "{kind: MeshService, name: web} and port: 80"),
        ([], [{"name": "web", "spec": {"ports": [{"port": 80}, {"port": 81}]}}], "one of the ports 80, 81"),
        ([overview("web-1", inbound(), inbound(9090))], [], "to one of its ports: web:8080, web:9090"),
        ([], [], "no Dataplane of this mesh offers web and no MeshService has that name"),
    ],
)
def test_an_outbound_by_tags_gets_a_target(others, services, remedy):
    found = examine(call(tags={"kuma.io/service": "web"}), *others, mesh_services=services)
    (finding,) = [finding for finding in found if finding.code == "outbound-tags"]
    assert (finding.severity, finding.field) == (SILENT, "networking.outbound[0].tags")
    assert remedy in finding.remedy


def test_an_outbound_to_a_second_service_of_a_workload():
    server = overview("web-1", inbound(), inbound(9090, "metrics"))
    found = examine(call(tags={"kuma.io/service": "metrics"}), server)
    (finding,) = [finding for finding in found if finding.code == "outbound-tags"]
    assert "name: web, port: 9090" in finding.remedy
    assert "set it as backend_ref of metrics in kuma_dp_upstreams" in finding.remedy


def test_an_outbound_to_a_subset():
    finding = examine(call(tags={"kuma.io/service": "web", "version": "v1"}), overview("web-1", inbound()))[0]
    assert "the choice by version has no counterpart" in finding.then


def test_a_backend_ref_has_to_lead_somewhere():
    server = overview("web-1", inbound())

    def reference(**fields):
        return codes(call(backendRef={"kind": "MeshService", **fields}), server)

    assert reference(name="web", port=8080) == []
    assert reference(name="web", port=80) == [(SILENT, "backend-ref")]
    assert reference(name="nobody", port=8080) == [(SILENT, "backend-ref")]
    assert reference(labels={"a": "b"}, port=8080) == []
    assert codes(call(backendRef={"kind": "MeshExternalService", "name": "x"})) == []


def test_removed_fields():
    assert codes(
        overview("edge", labels={WORKLOAD: "edge"}, gateway={"type": "BUILTIN"}),
        overview("web-1", inbound(), advertisedAddress="192.0.2.1", root={"probes": {"port": 1}, "metrics": {"type": "x"}}),
        overview("web-2", inbound(), transparentProxying={"reachableServices": ["a"], "redirectPortInbound": 15006}),
    ) == [
        (SILENT, "advertised-address"),
        (SILENT, "reachable-services"),
        (SILENT, "removed-block"),
        (SILENT, "removed-block"),
        (LOUD, "builtin-gateway"),
    ]


def test_trap_42_proxies_of_a_workload_with_other_ports():
    usual = [overview(f"web-{index}", inbound()) for index in range(3)]
    finding = one(*usual, overview("web-9", inbound(9090)))
    assert (finding.severity, finding.code, finding.name) == (SILENT, "workload-ports", "web-9")
    assert finding.found == "9090, while other proxies of the workload web have 8080"
    # A proxy that offers nothing has no ports to compare.
    assert examine(*usual, overview("web-8")) == []


def test_trap_16_labels_that_were_lost():
    hosts = [host(services=[{"name": "web", "port": 8080}], labels={"team": "a"}, owner="us")]
    finding = one(overview("web-1", inbound()), hosts=hosts)
    assert (finding.severity, finding.code, finding.found) == (SILENT, "labels-missing", "without meshfleet.kuma/owner, team")
    assert (finding.host, finding.remedy) == ("host-web-1", "run join_mesh.yml")
    labels = {WORKLOAD: "web", "team": "a", "meshfleet.kuma/owner": "us"}
    assert examine(overview("web-1", inbound(), labels=labels), hosts=hosts) == []
    below = one(overview("web-1", inbound()), hosts=hosts, release=(2, 12, 14))
    assert below.remedy.startswith("upgrade the control plane to 2.13 or later")


@pytest.mark.parametrize(("version", "severity"), [("2.10.9", LOUD), ("2.11.0", CHANGES), ("2.14.3", CHANGES)])
def test_versions_without_delta_xds(version, severity):
    assert codes(overview("web-1", inbound(), version=version)) == [(severity, "kuma-dp-version")]


def test_newer_versions_are_fine():
    for version in ("3.0.0", "0.0.0-preview.vabc"):
        assert examine(overview("web-1", inbound(), version=version)) == []


def test_settings_of_a_mesh():
    backend = {"backends": [{"name": "ca-1", "type": "builtin"}]}
    encrypted = one(mesh={"mtls": {"enabledBackend": "ca-1", **backend}})
    assert (encrypted.severity, encrypted.code) == (SILENT, "mesh-mtls")
    assert "no longer encrypted" in encrypted.then
    covered = one(mesh={"mtls": {"enabledBackend": "ca-1", **backend}}, identities=[{"name": "id"}])
    assert (covered.severity, covered.remedy) == (CHANGES, "check that MeshIdentity id covers every proxy")
    assert codes(mesh={"mtls": backend}) == [(CHANGES, "mesh-mtls")]
    assert codes(mesh={"meshServices": {}}) == [(CHANGES, "mesh-services")]
    assert codes(mesh={"meshServices": {}}, release=(3, 0, 0)) == []
    settings = {key: {"x": {}} for key in ("constraints", "logging", "metrics", "networking", "routing", "tracing")}
    assert codes(mesh=settings) == [(SILENT, "mesh-setting")] * 6


def test_policies():
    def policy(**spec):
        return [{"type": "MeshTimeout", "mesh": "m", "name": "p", "spec": spec}]

    server = overview("web-1", inbound())
    assert codes(policies=policy(targetRef={"kind": "Dataplane", "labels": {"a": "b"}}, to=[{"targetRef": {"kind": "Mesh"}}])) == []
    assert codes(policies=policy(targetRef={"kind": "MeshSubset", "tags": {"a": "b"}})) == [(LOUD, "policy-target")]
    subset = {"targetRef": {"kind": "MeshSubset", "tags": {"a": "b"}}}
    found = examine(policies=policy(**{"from": [subset]}))
    assert [(finding.code, finding.field) for finding in found] == [
        ("policy-from", "spec.from"),
        ("policy-tags", "spec.from[0].targetRef.tags"),
    ]
    to = [{"targetRef": {"kind": "MeshService", "name": "web"}}, {"targetRef": {"kind": "MeshService", "name": "other"}}]
    assert [finding.field for finding in examine(server, policies=policy(to=to))] == ["spec.to[1].targetRef.name"]


def test_types_that_are_gone():
    gone = [{"type": "ZoneEgress", "name": "e"}, {"type": "ZoneIngress", "name": "i"}]
    assert codes(gone=gone) == [(LOUD, "type-gone")] * 2


def test_what_the_inventory_says():
    services = [{"name": "web_1", "port": 1, "tags": {"v": "1"}}, {"name": "b", "port": 2, "tags": {"v": "2"}}]
    environment = {"KUMA_DATAPLANE_RUNTIME_CONFIG_DIR": "/x", "OWN": "y"}
    found = examine(
        hosts=[host(services=services, upstreams=["b", "c", {"service": "d", "backend_ref": {"port": 1}}], environment=environment)]
    )
    assert [(finding.severity, finding.code, finding.field) for finding in found] == [
        (SILENT, "tags-disagree", "kuma_dp_services[].tags.v"),
        (LOUD, "service-name", "kuma_dp_services[0].name"),
        (LOUD, "upstream-port", "kuma_dp_upstreams[1]"),
        (CHANGES, "environment", "kuma_dp_environment.KUMA_DATAPLANE_RUNTIME_CONFIG_DIR"),
        (INFO, "not-registered", "kuma_dp_name"),
    ]


@pytest.mark.parametrize(
    ("bind", "release", "found"),
    [(["tags", "workload"], NOW, True), (["workload"], NOW, False), (None, NOW, False), (["tags"], (3, 0, 0), False)],
)
def test_trap_62_tokens_that_are_bound_to_tags_are_named(bind, release, found):
    services = [{"name": "web", "port": 8080}]
    findings = examine(overview("web-1", inbound()), hosts=[host(services=services, token_bind=bind)], release=release)
    own = [finding for finding in findings if finding.code == "token-tags"]
    assert [(finding.severity, finding.name, finding.found) for finding in own] == ([(SILENT, "web-1", "kuma.io/service")] if found else [])


def test_only_hosts_in_the_play_are_reported():
    hosts = [host("a", services=[{"name": "web", "port": 8080}]), host("b", in_play=False, services=[{"name": "web", "port": 8080}])]
    lacking = [overview(name, inbound(), labels={}) for name in ("a", "b", "stranger")]
    assert [finding.name for finding in examine(*lacking, hosts=hosts, strangers=False)] == ["a"]
    assert [finding.name for finding in examine(*lacking, hosts=hosts)] == ["stranger", "a"]
    assert [finding.name for finding in examine(*lacking, hosts=[dict(hosts[0], variables={**hosts[0]["variables"], "mesh": "n"})])] == [
        "a",
        "b",
        "stranger",
    ]


def test_the_report_and_its_text():
    hosts = [host(f"web-{index}", services=[{"name": "web", "port": 8080}]) for index in range(8)]
    world = migration_report.World(NOW, {"name": "m"}, [overview(f"web-{index}", inbound(protocol="http")) for index in range(8)])
    findings = migration_report.examine(world, hosts)
    control_plane = {"product": "Kuma", "version": "2.14.3"}
    report = migration_report.report(findings, control_plane, "m")
    assert report["counts"] == {"silent": 8, "loud": 0, "changes": 1, "info": 4}
    assert report["hosts"]["host-web-0"] == {"silent": 1, "loud": 0, "changes": 0, "info": 0}
    assert json.loads(json.dumps(report)) == report
    lines = migration_report.text(findings, control_plane, "m", 8)
    assert lines[0] == "Mesh m on Kuma 2.14.3 with 8 Dataplanes. With Kuma 3.0: breaks silently 8, changes 1, info 4"
    assert "[breaks silently] protocol (8)" in lines
    assert "  and 3 more at host-web-5, host-web-6, host-web-7" in lines
    assert "host-web-7: breaks silently 1" in lines
    assert sum(line.startswith("    3.0: the inbound is plain TCP") for line in lines) == 1


def test_the_text_of_a_large_fleet_stays_readable():
    overviews = [call(tags={"kuma.io/service": f"s{index}"}) | {"name": f"job-{index}"} for index in range(50)]
    world = migration_report.World(NOW, {"name": "m"}, overviews)
    lines = migration_report.text(migration_report.examine(world, []), {}, "m", 50)
    assert "  and 30 more, each with its remedy in the report as JSON" in lines
    assert len(lines) < 120


@pytest.mark.parametrize(("fail_on", "count"), [("none", 0), ("silent", 1), ("any", 2)])
def test_what_fails(fail_on, count):
    world = migration_report.World(NOW, {"name": "m"}, [overview("web-1", inbound(protocol="http"))])
    assert len(migration_report.failing(migration_report.examine(world, []), fail_on)) == count


NAMES = st.sampled_from(["web", "api", "db"])
LABEL_TEXT = st.text("abz09-_.", min_size=1, max_size=8)
SERVICES = st.lists(
    st.fixed_dictionaries({"port": st.integers(1, 9), "protocol": st.sampled_from(["http", "tcp"])}), min_size=1, max_size=3
)


@st.composite
def fleets(draw):
    """Proxies as the role's plan describes them, one port list for each workload."""
    shapes = {name: draw(st.lists(st.integers(8000, 8005), min_size=1, max_size=2, unique=True)) for name in ("web", "api")}
    proxies = []
    for index in range(draw(st.integers(1, 5))):
        workload = draw(st.sampled_from(sorted(shapes)))
        protocol = draw(st.sampled_from(["http", "tcp"]))
        services = [{"name": workload, "inbound_name": f"p{port}", "port": port, "protocol": protocol} for port in shapes[workload]]
        proxies.append(
            {"name": f"{workload}-{index}", "mesh": "m", "address": f"10.0.0.{index + 1}", "services": services, "workload": workload}
        )
    offered = sorted({proxy["workload"] for proxy in proxies})
    for proxy in proxies:
        targets = draw(st.lists(st.sampled_from(offered), unique=True))
        proxy["outbounds"] = [
            {"service": target, "port": 10001 + index, "backend_ref": {"port": shapes[target][0]}} for index, target in enumerate(targets)
        ]
    return proxies


def registered(proxies, model, labels=True):
    built = [resource.build(proxy, model, labels) for proxy in proxies]
    return [
        {"name": item["name"], "mesh": "m", "labels": item.get("labels", {}), "dataplane": {"networking": item["networking"]}}
        for item in built
    ]


@given(fleets())
def test_a_fleet_that_the_role_writes_for_3_0_has_nothing_to_migrate(proxies):
    assert [finding for finding in examine(*registered(proxies, "v3"), release=(3, 0, 0)) if finding.severity != INFO] == []


@given(fleets(), st.booleans())
def test_everything_that_3_0_drops_is_found(proxies, labels):
    """Whatever field our schema of 3.0 does not have gives a finding for its Dataplane, unless nothing is lost with it."""
    for proxy in proxies:
        for outbound in proxy["outbounds"]:
            del outbound["backend_ref"]
    overviews = registered(proxies, "v2", labels)
    by_name = {}
    for finding in examine(*overviews):
        by_name.setdefault(finding.name, set()).add(finding.code)
    for item, proxy in zip(overviews, proxies, strict=True):
        dropped = {problem["field"] for problem in schema.dropped_fields(item["dataplane"], (3, 0, 0))}
        codes = by_name.get(item["name"], set())
        assert ("outbound-tags" in codes) is any("outbound" in field for field in dropped)
        assert ("protocol" in codes) is any(service["protocol"] == "http" for service in proxy["services"])
        assert ("workload-label" in codes) is not labels


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), LABEL_TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(LABEL_TEXT, inner, max_size=2)),
    max_leaves=5,
)


@given(st.lists(st.dictionaries(NAMES, LABEL_TEXT, max_size=3), max_size=3), st.dictionaries(LABEL_TEXT, LABEL_TEXT, max_size=3), JSON)
def test_every_finding_is_complete_and_the_report_is_json(tags, labels, spec):
    item = overview(
        "a", *[inbound(8080 + index, **extra) for index, extra in enumerate(tags)], labels=labels, outbound=[{"port": 1, "tags": {}}]
    )
    world = migration_report.World(NOW, {"name": "m"}, [item], policies=[{"type": "MeshTimeout", "name": "p", "spec": {"to": spec}}])
    findings = migration_report.examine(world, [])
    assert findings == migration_report.examine(world, [])
    for finding in findings:
        assert all(getattr(finding, part) for part in ("severity", "code", "type", "found", "then", "remedy")), finding
    json.dumps(migration_report.report(findings, {}, "m"), allow_nan=False)
