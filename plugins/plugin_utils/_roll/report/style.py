# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""The style sheet of a roll's report: for wide and narrow screens, light and dark, and for paper."""

from __future__ import annotations

# Hues that are told apart with any colour vision, next to each other differing in lightness too. Paper is always light.
STYLE = """
:root{--page:#f6f7f9;--card:#fff;--ink:#1a2230;--soft:#5b6678;--line:#dde2ea;--track:#eef1f5;
--wait:#b9c2cf;--fence:#a4512a;--cover:#3567d6;--drain:#e9b93a;--restart:#a12f74;--gate:#17957f;--other:#8b96a6;
--good:#0f7a55;--good-bg:#e2f4ec;--bad:#b3261e;--bad-bg:#fbe7e5;--odd:#8a5a00;--odd-bg:#fbf0d9;--none:#5b6678;--none-bg:#e9edf2}
@media screen and (prefers-color-scheme:dark){:root{color-scheme:dark;--page:#12161d;--card:#1a202a;--ink:#e6eaf1;--soft:#9aa6b8;
--line:#2d3645;--track:#232b37;--wait:#5a6678;--fence:#cf7446;--cover:#6591f2;--drain:#edc458;--restart:#d368a8;--gate:#35b89f;
--other:#7d899a;--good:#5fd0a4;--good-bg:#173329;--bad:#ff8d84;--bad-bg:#3f2020;--odd:#ecbd62;--odd-bg:#392e17;--none:#9aa6b8;
--none-bg:#2a3341}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;
overflow-wrap:anywhere;-webkit-text-size-adjust:100%;print-color-adjust:exact;-webkit-print-color-adjust:exact}
main{max-width:1240px;margin:0 auto;padding:28px 24px 48px}
h1{font-size:26px;line-height:1.2;margin:0 12px 0 0}
h2{font-size:17px;margin:0}
p{margin:0}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:18px 20px;margin-top:18px}
.head{display:flex;flex-wrap:wrap;align-items:baseline;gap:10px 16px;margin-bottom:12px}
.head p,.soft{color:var(--soft);font-size:13px}
.title{display:flex;flex-wrap:wrap;align-items:center;gap:6px 4px}
.abort{margin-top:8px;color:var(--bad);font-weight:600}
.facts{display:flex;flex-wrap:wrap;gap:4px 22px;margin-top:10px;color:var(--soft);font-size:13px}
.facts b{color:var(--ink);font-weight:500}
bdi,td,.why,.who b{unicode-bidi:isolate}
.badge{display:inline-block;border-radius:99px;padding:1px 10px;font-size:12px;font-weight:600;white-space:nowrap;
color:var(--none);background:var(--none-bg)}
.title .badge{font-size:14px;padding:3px 14px}
.tag{display:inline-block;border:1px solid var(--line);border-radius:4px;padding:0 5px;margin-left:6px;font-size:11px;color:var(--soft);
white-space:nowrap;font-weight:400}
.badge.done{color:var(--good);background:var(--good-bg)}
.badge.failed,.badge.unreachable,.badge.aborted{color:var(--bad);background:var(--bad-bg)}
.badge.refused,.badge.deferred,.badge.admitted,.badge.running{color:var(--odd);background:var(--odd-bg)}
nav{display:flex;flex-wrap:wrap;gap:4px 16px;margin-top:12px;font-size:13px}
a{color:var(--cover)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin-top:18px}
.tile{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:12px 16px}
.tile b{display:block;font-size:24px;line-height:1.25;font-weight:650;font-variant-numeric:tabular-nums}
.tile.bad b{color:var(--bad)}
.counts{display:flex;height:10px;border-radius:5px;overflow:hidden;margin-top:16px;gap:1px;background:var(--track)}
.counts i{min-width:3px;background:var(--other)}
.counts .done{background:var(--gate)}.counts .failed,.counts .unreachable{background:var(--bad)}
.counts .refused,.counts .deferred{background:var(--drain)}.counts .admitted{background:var(--cover)}
.counts .skipped,.counts .waiting{background:var(--wait)}
.chips{display:flex;flex-wrap:wrap;gap:6px 8px;margin-top:10px}
.group{padding:10px 0;border-top:1px solid var(--line);display:grid;grid-template-columns:112px 1fr;gap:4px 14px}
.head+.group{border-top:0;padding-top:0}
.group:last-child{padding-bottom:0}
.group .names{font-weight:600}
.legend{display:flex;flex-wrap:wrap;gap:4px 16px;font-size:13px;color:var(--soft)}
.legend span{white-space:nowrap}
.legend i{display:inline-block;width:14px;height:10px;border-radius:2px;margin-right:6px;position:relative}
.wait,.fence,.cover,.drain,.restart,.gate,.other,.open{background:var(--other)}
.fence{background:var(--fence)}.cover{background:var(--cover)}.drain{background:var(--drain)}.restart{background:var(--restart)}
.gate{background:var(--gate)}
.open{background:repeating-linear-gradient(135deg,var(--cover) 0 4px,var(--track) 4px 8px)}
.legend i.wait{background:none}
.wait{background:none!important}
.wait::after{content:"";position:absolute;left:0;right:0;top:50%;height:2px;margin-top:-1px;background:var(--wait)}
.time{position:relative;--name:190px;--took:122px;--row:26px;--bar:14px}
.axis{position:sticky;top:0;z-index:2;height:24px;margin:0 var(--took) 0 var(--name);background:var(--card);border-bottom:1px solid var(--line);
font-size:12px;color:var(--soft);font-variant-numeric:tabular-nums}
.axis span{position:absolute;bottom:3px;transform:translateX(-50%);white-space:nowrap}
.axis span:first-child{transform:none}
.axis .far{transform:translateX(-100%)}
.lines{position:absolute;top:24px;bottom:0;left:var(--name);right:var(--took);pointer-events:none}
.lines u{position:absolute;top:0;bottom:0;border-left:1px solid var(--line)}
.lines s{position:absolute;top:0;bottom:0;background:repeating-linear-gradient(135deg,var(--line) 0 3px,transparent 3px 7px)}
.rows{position:relative}
.row{display:grid;grid-template-columns:var(--name) 1fr var(--took);grid-auto-rows:minmax(var(--row),auto);
align-items:center}
.row:hover{background:color-mix(in srgb,var(--track) 55%,transparent)}
.who{padding-right:12px;font-size:13px;white-space:nowrap;overflow:hidden;text-overflow:ellipsis}
.who b{font-weight:500}
.bad .who b{color:var(--bad);font-weight:650}
.took{padding-left:12px;font-size:13px;font-variant-numeric:tabular-nums;white-space:nowrap;text-align:right}
.track{position:relative;height:var(--bar)}
.track i{position:absolute;top:0;bottom:0;min-width:1px}
.track em{position:absolute;top:-3px;bottom:-3px;min-width:6px;border:2px solid var(--bad);border-radius:3px}
.track .not{font-size:12px;line-height:var(--bar);color:var(--soft);white-space:nowrap;overflow:hidden;text-overflow:ellipsis}
.why{grid-column:2/4;font-size:13px;color:var(--bad);align-self:start;padding-bottom:4px}
.many{--row:19px;--bar:10px}
.many .who,.many .took{font-size:12px;line-height:1.3}
.huge{--row:15px;--bar:8px}
.huge .who,.huge .took{font-size:11px;line-height:1.2}
.huge .badge,.many .badge{font-size:11px;padding:0 8px}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(340px,100%),1fr));gap:20px 28px}
.chart h3{font-size:14px;margin:0}
.chart .plot{position:relative;margin:6px 0 0 26px}
.chart svg{display:block;width:100%;height:92px;border-left:1px solid var(--line);border-bottom:1px solid var(--line)}
.chart .y{position:absolute;right:100%;margin-right:6px;font-size:11px;line-height:1;white-space:nowrap;color:var(--soft);font-variant-numeric:tabular-nums}
.chart .x{display:flex;justify-content:space-between;font-size:11px;color:var(--soft);font-variant-numeric:tabular-nums}
.chart .alarm{color:var(--bad);font-weight:600}
svg path{fill:none;stroke-width:1.5;vector-effect:non-scaling-stroke}
svg .grid{stroke:var(--line);stroke-width:1}
svg .gap{fill:var(--line);stroke:none}
svg .serving-area{fill:var(--gate);fill-opacity:.16;stroke:none}
svg .flight-area{fill:var(--restart);fill-opacity:.35;stroke:none}
svg .serving{stroke:var(--gate);stroke-width:2}
svg .flight{stroke:var(--restart)}
svg .total{stroke:var(--soft);stroke-dasharray:4 3}
.legend i.l-total{background:repeating-linear-gradient(90deg,var(--soft) 0 4px,transparent 4px 7px);height:2px;vertical-align:middle}
.legend i.l-serving{background:var(--gate);height:3px;vertical-align:middle}
.legend i.l-flight{background:var(--restart);opacity:.6}
#hosts>div{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:13px;font-variant-numeric:tabular-nums}
th{text-align:left;font-weight:600;color:var(--soft);padding:4px 8px;border-bottom:2px solid var(--line);vertical-align:bottom}
td{padding:6px 8px;border-bottom:1px solid var(--line);vertical-align:top}
.name,.how{min-width:120px}.version{min-width:84px}
td small{display:block;color:var(--soft);font-size:12px}
.n{text-align:right;white-space:nowrap}
tr.bad small.what{color:var(--bad)}
.cut{color:var(--bad);font-weight:650}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(180px,1fr));gap:8px 20px;margin:0}
dt{color:var(--soft);font-size:12px}
dd{margin:0}
footer{margin-top:18px;color:var(--soft);font-size:12px}
@media screen and (max-width:720px){
main{padding:16px 10px 32px}section{padding:14px 12px}h1{font-size:21px}
nav{display:flex;flex-wrap:wrap;gap:4px 16px;margin-top:12px;font-size:13px}
a{color:var(--cover)}
.tiles{grid-template-columns:1fr 1fr;gap:8px}.tile{padding:8px 12px}.tile b{font-size:20px}
.group{grid-template-columns:1fr}
.time{--name:0px;--took:0px}
.axis span:nth-child(even){display:none}
.row{grid-template-columns:1fr auto;padding:3px 0}.row .track{grid-column:1/3;grid-row:2}.why{grid-column:1/3}
.who,.took{line-height:1.4;padding:0}.huge .row,.many .row{padding:1px 0}
table,tbody,tr{display:block}thead{display:none}
tr{padding:8px 0;border-bottom:1px solid var(--line)}
td{display:inline-block;border:0;padding:0 14px 0 0;text-align:left}
td:empty{display:none}.row,.why{grid-auto-rows:auto}
td:nth-child(1),td:nth-child(2),td:nth-child(3){padding-right:8px}
td:nth-child(4),td:nth-child(5){display:block}
td:nth-child(n+6)::before{color:var(--soft)}
td:nth-child(6)::before{content:"cut "}td:nth-child(7)::before{content:"in all "}td:nth-child(8)::before{content:"wait "}
td:nth-child(9)::before{content:"fence "}td:nth-child(10)::before{content:"cover "}td:nth-child(11)::before{content:"drain "}
td:nth-child(12)::before{content:"restart "}td:nth-child(13)::before{content:"gate "}
}
@media print{:root{--page:#fff}body{font-size:11px}main{max-width:none;padding:0}section{border:0;padding:6px 0}nav{display:none}
.axis{position:relative}.tiles{grid-template-columns:repeat(auto-fit,minmax(100px,1fr))}.tile{padding:6px 10px}.tile b{font-size:17px}
.time{--name:120px;--took:122px}#hosts>div{overflow:visible}table{font-size:9px}td,th{padding:3px 4px}td small{font-size:8px}
.name,.how,.version{min-width:56px}td .badge,td .tag{font-size:8px;padding:0 5px}
.row,.group,.chart,tr,.tile{break-inside:avoid}h2{break-after:avoid}thead{display:table-header-group}}
"""
