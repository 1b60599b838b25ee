# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    # How a module reaches the control plane; the options of module_utils/_module/api.py.
    DOCUMENTATION = r"""
options:
  url:
    description:
      - Address of the API of the control plane. Its ports are 5682 for HTTPS and 5681 for HTTP.
      - Where something before the control plane has it below a path, such as C(https://mesh.example.com/kuma), that is part of the address,
        and stands before the path of every request.
      - The environment variable E(KUMA_API_URL) is used when it is not set.
    type: str
    required: true
  token:
    description:
      - User token for the API. Needed for everything that the control plane does not allow to anonymous clients, such as
        issuing tokens and reading secrets.
      - The environment variable E(KUMA_API_TOKEN) is used when it is not set.
      - Blanks and line breaks around it are ignored.
    type: str
  ca_path:
    description:
      - PEM file on the controller with the authority that signed the certificate of the control plane. For the certificate
        that a control plane makes for itself, this is the certificate.
      - The environment variable E(KUMA_CA) is used when it is not set, and the authorities of the system when neither is.
    type: path
  client_cert:
    description:
      - PEM file on the controller with a certificate of the client, for an API that wants one. The key may be in the same file.
      - The environment variable E(KUMA_CLIENT_CERT) is used when it is not set.
    type: path
    version_added: 0.2.0
  client_key:
    description:
      - PEM file on the controller with the key of O(client_cert), when it is not in that file. A key with a passphrase is refused.
      - The environment variable E(KUMA_CLIENT_KEY) is used when it is not set.
    type: path
    version_added: 0.2.0
  validate_certs:
    description:
      - Whether the certificate of the control plane is verified. V(false) gives a warning, because anyone on the way could
        read the token then.
    type: bool
    default: true
  timeout:
    description:
      - How many seconds a request may take, from the connection to the last byte of the answer. The connection must be there within
        5 seconds of it. An answer of more than 64 MiB is refused.
      - A request that was not answered in time is not sent again.
    type: float
    default: 30.0
  retries:
    description:
      - How often a request is sent again when the connection failed or the control plane said that it is not available
        (status 429, 502, 503 or 504). The time between grows with each try.
    type: int
    default: 4
attributes:
  action_group:
    description: Use C(group/meshfleet.kuma.api) in C(module_defaults) to set the options of the API for all such modules at once.
    support: full
    membership:
      - meshfleet.kuma.api
requirements:
  - requests 2.25.0 or later (Python library, where the module runs)
notes:
  - Modules that talk to the control plane run on the controller; set C(delegate_to) to V(localhost) in plays for other hosts.
  - Proxies are taken from the environment (E(HTTP_PROXY), E(HTTPS_PROXY), E(NO_PROXY)).
"""
