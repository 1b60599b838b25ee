# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options of role kuma_cp as the actions read them, and what 0.1.0 laid down for some of them, byte for byte."""

from __future__ import annotations

import pathlib

from ansible_collections.meshfleet.kuma.plugins.plugin_utils._play import control_plane, options
from tests.unit import parsed

ROLE = pathlib.Path(__file__).parents[3] / "roles/kuma_cp"
DEFAULTS = parsed.file(ROLE / "defaults/main.yml")
CA = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
KEY = "-----BEGIN PRIVATE KEY-----\nKEY\n-----END PRIVATE KEY-----\n"
PASSWORD = 'it\'s "$ecret\\" `day`'
# What the defaults leave to templates.
FILLED_IN = {
    "version": "2.14.3",
    "names": ["10.0.0.5"],
    "localhost_is_admin": True,
    "fetch_dir": "/home/me/kuma",
    # What the step before has chosen; 0.1.0 took all addresses.
    "https_address": "0.0.0.0",
    "archive_cache": "/cache",
}
GIVEN = {"tls_cert": CA.replace("MIIB", "CERT") + "\n", "tls_key": KEY, "tls_ca": CA}


def options_of(**variables):
    """``CONTROL_PLANE`` of a host whose inventory has these variables, without their prefix."""
    given = {**FILLED_IN, **variables}
    known = {**DEFAULTS, **{f"kuma_cp_{name}": value for name, value in given.items()}}
    return options.read(control_plane.CONTROL_PLANE, known.__getitem__)


def wanted(**variables):
    """The control plane of such a host; its PEM options are texts."""
    own = options_of(**variables)
    return control_plane.ControlPlane("cp", own, {name: own[name] for name in control_plane.PEM})


# With as many types as an inventory may have: numbers and truths of the command line are texts.
PLAIN = {}
POSTGRES = {
    "version": "2.13.10",
    "zone": "east",
    "create_default_mesh": "no",
    "http_address": "0.0.0.0",
    "http_port": "6681",
    "https_port": 6682,
    "dp_port": 6678,
    "install_dir": "/srv/kuma",
    "config_dir": "/srv/kuma-cp",
    "user": "mesh",
    "group": "mesh-cp",
    "store": "postgres",
    "postgres_host": "db.example.com",
    "postgres_port": "5433",
    "postgres_password": PASSWORD,
    "postgres_tls_mode": "verifyFull",
    "postgres_ca": CA,
    "localhost_is_admin": False,
    "hds_enabled": "false",
    "reports_enabled": True,
    "log_level": "debug",
    "environment": {"KUMA_Z": 'a "b" $c \\ `d`', "KUMA_A": True, "KUMA_N": 1.5},
}
EXTENDED = {
    **GIVEN,
    "store": "postgres",
    "postgres_password": "p",
    "config": {
        "apiServer": {"readOnly": True, "http": {"port": 6681}, "auth": {"clientCertsDir": "/a b"}},
        "xdsServer": {
            "dataplaneDeregistrationDelay": "5s",
            "list": [1, {"b": None, "a": "ü: #x"}],
            "empty": {},
            "off": "off",
            "num": "012",
            "long": "word " * 40,
            "text": "one\ntwo\n",
        },
        "store": {"postgres": {"maxOpenConnections": 50, "tls": {"mode": "verifyNone"}}},
    },
}

CONFIG_PLAIN = """\
# The settings of kuma-cp. Written by Ansible; kuma-cp reads it when it starts.
apiServer:
  authn:
    localhostIsAdmin: true
  http:
    enabled: true
    interface: 127.0.0.1
    port: 5681
  https:
    enabled: true
    interface: 0.0.0.0
    port: 5682
defaults:
  skipMeshCreation: false
dpServer:
  hds:
    enabled: true
  port: 5678
environment: universal
general:
  tlsCertFile: /etc/kuma-cp/tls/server.pem
  tlsKeyFile: /etc/kuma-cp/tls/server-key.pem
  workDir: /var/lib/kuma-cp
mode: zone
multizone:
  zone:
    name: default
reports:
  enabled: false
store:
  type: memory
"""
CONFIG_POSTGRES = """\
# The settings of kuma-cp. Written by Ansible; kuma-cp reads it when it starts.
apiServer:
  authn:
    localhostIsAdmin: false
  http:
    enabled: true
    interface: 0.0.0.0
    port: 6681
  https:
    enabled: true
    interface: 0.0.0.0
    port: 6682
defaults:
  skipMeshCreation: true
dpServer:
  hds:
    enabled: false
  port: 6678
environment: universal
general:
  tlsCertFile: /srv/kuma-cp/tls/server.pem
  tlsKeyFile: /srv/kuma-cp/tls/server-key.pem
  workDir: /var/lib/kuma-cp
mode: zone
multizone:
  zone:
    name: east
reports:
  enabled: true
store:
  postgres:
    dbName: kuma
    host: db.example.com
    port: 5433
    tls:
      caPath: /srv/kuma-cp/tls/postgres-ca.pem
      mode: verifyFull
    user: kuma
  type: postgres
"""
CONFIG_EXTENDED = """\
# The settings of kuma-cp. Written by Ansible; kuma-cp reads it when it starts.
apiServer:
  auth:
    clientCertsDir: /a b
  authn:
    localhostIsAdmin: true
  http:
    enabled: true
    interface: 127.0.0.1
    port: 6681
  https:
    enabled: true
    interface: 0.0.0.0
    port: 5682
  readOnly: true
defaults:
  skipMeshCreation: false
dpServer:
  hds:
    enabled: true
  port: 5678
environment: universal
general:
  tlsCertFile: /etc/kuma-cp/tls/given.pem
  tlsKeyFile: /etc/kuma-cp/tls/given-key.pem
  workDir: /var/lib/kuma-cp
mode: zone
multizone:
  zone:
    name: default
reports:
  enabled: false
store:
  postgres:
    dbName: kuma
    host: 127.0.0.1
    maxOpenConnections: 50
    port: 5432
    tls:
      mode: verifyNone
    user: kuma
  type: postgres
xdsServer:
  dataplaneDeregistrationDelay: 5s
  empty: {}
  list:
  - 1
  - a: 'ü: #x'
    b: null
  long: 'word word word word word word word word word word word word word word word
    word word word word word word word word word word word word word word word word
    word word word word word word word word word '
  num: '012'
  'off': 'off'
  text: 'one

    two

    '
"""
ENVIRONMENT_PLAIN = "# Further settings of kuma-cp, which win over kuma-cp.yaml. Written by Ansible; kuma-cp reads it when it starts.\n"
ENVIRONMENT_POSTGRES = (
    ENVIRONMENT_PLAIN
    + r"""KUMA_A="True"
KUMA_N="1.5"
KUMA_Z="a \"b\" \$c \\ \`d\`"
"""
)
SECRETS_POSTGRES = r"""KUMA_STORE_POSTGRES_PASSWORD="it's \"\$ecret\\\" \`day\`"
"""
# The directories of each, and of its other files path, owner, group, mode and content.
DIRECTORIES_PLAIN = [
    ("/etc/kuma-cp", "root", "root", "0755"),
    ("/etc/kuma-cp/tls", "root", "kuma-cp", "0750"),
    ("/opt/kuma", "root", "root", "0755"),
    ("/opt/kuma/2.14.3", "root", "root", "0755"),
]
DIRECTORIES_POSTGRES = [
    ("/srv/kuma-cp", "root", "root", "0755"),
    ("/srv/kuma-cp/tls", "root", "mesh-cp", "0750"),
    ("/srv/kuma", "root", "root", "0755"),
    ("/srv/kuma/2.13.10", "root", "root", "0755"),
]
CHECKSUM = "ab" * 32
FILES_PLAIN = [
    ("/etc/kuma-cp/kuma-cp.yaml", "root", "kuma-cp", "0640", CONFIG_PLAIN),
    ("/opt/kuma/2.14.3/.archive-sha256", "root", "root", "0644", CHECKSUM + "\n"),
]
FILES_POSTGRES = [
    ("/srv/kuma-cp/kuma-cp.yaml", "root", "mesh-cp", "0640", CONFIG_POSTGRES),
    ("/srv/kuma/2.13.10/.archive-sha256", "root", "root", "0644", CHECKSUM + "\n"),
    ("/srv/kuma-cp/tls/postgres-ca.pem", "root", "mesh-cp", "0644", CA),
]
FILES_EXTENDED = [
    ("/etc/kuma-cp/kuma-cp.yaml", "root", "kuma-cp", "0640", CONFIG_EXTENDED),
    *FILES_PLAIN[1:],
    ("/etc/kuma-cp/tls/given.pem", "root", "kuma-cp", "0644", CA.replace("MIIB", "CERT")),
]
_PLAIN = ("/etc/kuma-cp/kuma-cp.env", "root", "kuma-cp", "0640", ENVIRONMENT_PLAIN)
SECRETS = [
    [_PLAIN],
    [
        ("/srv/kuma-cp/kuma-cp.env", "root", "mesh-cp", "0640", ENVIRONMENT_POSTGRES),
        ("/srv/kuma-cp/secrets.env", "root", "root", "0600", SECRETS_POSTGRES),
    ],
    [
        _PLAIN,
        ("/etc/kuma-cp/secrets.env", "root", "root", "0600", 'KUMA_STORE_POSTGRES_PASSWORD="p"\n'),
        ("/etc/kuma-cp/tls/given-key.pem", "root", "kuma-cp", "0640", KEY),
    ],
]
# Variables of the inventory, and what was laid down for them but for the unit.
LAID_DOWN = [
    (PLAIN, DIRECTORIES_PLAIN, FILES_PLAIN, SECRETS[0]),
    (POSTGRES, DIRECTORIES_POSTGRES, FILES_POSTGRES, SECRETS[1]),
    (EXTENDED, DIRECTORIES_PLAIN, FILES_EXTENDED, SECRETS[2]),
]
