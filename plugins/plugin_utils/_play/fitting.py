# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Which options of the roles and playbooks become part of a URL, of a path or of a unit, and what may be in them. Pure functions.

The names of proxies are not here: which option holds them depends on another one, see ``fleet.check_names``.
"""

from __future__ import annotations

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming

RULES: naming.Rules = {
    "kuma_dp_mesh": naming.LOOSE,
    "kuma_dp_version": naming.VERSION,
    "kuma_dp_config_dir": naming.PATH,
    "kuma_dp_install_dir": naming.PATH,
    "kuma_dp_user": naming.ACCOUNT,
    "kuma_dp_group": naming.ACCOUNT,
    "kuma_dp_application_units[]": naming.UNIT,
    "kuma_dp_archive_cache": naming.PLACE,
    "kuma_dp_dataplane_template": naming.PLACE,
    "kuma_dp_roll_dir": naming.PLACE,
    "kuma_dp_token_ledger": naming.PLACE,
    "kuma_dp_token_signing_kid": naming.KEY_ID,
    "kuma_zone_proxy_token_signing_kid": naming.KEY_ID,
    "kuma_dp_roll_before": naming.PLACE,
    "kuma_dp_roll_after": naming.PLACE,
    "kuma_zone_proxy_zone": naming.LOOSE,
    "kuma_migration_report_path": naming.PLACE,
    "kuma_cp_version": naming.VERSION,
    "kuma_cp_config_dir": naming.PATH,
    "kuma_cp_install_dir": naming.PATH,
    "kuma_cp_user": naming.ACCOUNT,
    "kuma_cp_group": naming.ACCOUNT,
    "kuma_cp_archive_cache": naming.PLACE,
    "kuma_cp_fetch_dir": naming.PLACE,
}
# Where nothing is an answer, too: the control plane knows the zone, a leave needs no release, there is no hook.
OR_NONE = frozenset(
    (
        "kuma_dp_version", "kuma_dp_application_units", "kuma_dp_dataplane_template", "kuma_dp_roll_before", "kuma_dp_roll_after",
        "kuma_zone_proxy_zone", "kuma_migration_report_path", "kuma_cp_version", "kuma_cp_fetch_dir", "kuma_dp_token_ledger",
        "kuma_dp_token_signing_kid", "kuma_zone_proxy_token_signing_kid",
    )
)  # fmt: skip
_RULES_OF = {path.partition("[")[0]: (path, rule) for path, rule in RULES.items()}
VARIABLES = frozenset(_RULES_OF)


def unfit(variable: str, value: t.Any) -> t.List[t.Tuple[str, t.Any, str]]:
    """What in the value of an option cannot be the part that it becomes: ``(place, what is there, what is expected)``."""
    if variable not in _RULES_OF or (value in ("", None) and variable in OR_NONE):
        return []
    path, rule = _RULES_OF[variable]
    if value in ("", None):
        return [(variable, value, naming.expected(rule))]
    # YAML reads some versions and names as numbers.
    given = str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value
    return [(place, found, naming.expected(rule)) for place, found, rule in naming.unfit({variable: given}, {path: rule})]


def refusal(variable: str, value: t.Any) -> str:
    """The same as a sentence, which begins with the variable; empty when nothing is wrong."""
    return "; ".join(f"{place} is {naming.shown(found)}, expected {expected}" for place, found, expected in unfit(variable, value))
