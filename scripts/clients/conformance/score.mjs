// Reads what the conformance suite left in WORK/{direct,proxied,converted}-REVISION, prints the scores as a table (or as
// JSON with --json) and what is wrong with them, and exits 1 if anything is:
//   - a required scenario of the fixture fails, or its single checks are not as many as they were when this was written;
//   - a check ends otherwise through the proxy than directly;
//   - a check of the converted service fails that expected-REVISION.yml does not list, or passes that it does list. Its
//     entries are SCENARIO:CHECK, or SCENARIO for all of its checks, as the suite has them in its --expected-failures.
// usage: node score.mjs MODULES WORK [--json]
import fs from 'node:fs';
import path from 'node:path';
import { createRequire } from 'node:module';

const [modules, work, flag] = process.argv.slice(2);
const { parse } = createRequire(modules + '/')('yaml');
const here = import.meta.dirname;

// The fixture's single checks, passed and failed: it lacks the tasks extension of 2026-07-28, which is not required.
const fixture = { '2026-07-28': [165, 30], '2025-11-25': [82, 0] };

const rows = [];
const faults = [];
for (const revision of Object.keys(fixture)) {
  const requirements = read(path.join(modules, 'node_modules/@modelcontextprotocol/conformance/requirements', revision + '.yaml'));
  const score = (target) => {
    const results = load(path.join(work, `${target}-${revision}`));
    const row = { revision, target, required: requirements.server.length, requiredPassed: 0, passed: 0, failed: 0, verdict: 'ok' };
    for (const scenario of requirements.server) {
      if (results.has(scenario) && !results.get(scenario).some((c) => c.status === 'FAILURE')) row.requiredPassed++;
    }
    for (const checks of results.values()) {
      row.passed += checks.filter((c) => c.status === 'SUCCESS').length;
      row.failed += checks.filter((c) => c.status === 'FAILURE').length;
    }
    rows.push(row);
    return { row, results };
  };
  const fault = (row, text) => {
    row.verdict = 'FAULT';
    faults.push(`${revision}, ${row.target}: ${text}`);
  };

  const direct = score('direct');
  const proxied = score('proxied');
  for (const { row } of [direct, proxied]) {
    if (row.requiredPassed !== row.required) fault(row, `${row.required - row.requiredPassed} required scenarios fail`);
    const [passed, failed] = fixture[revision];
    if (row.passed !== passed || row.failed !== failed) {
      fault(row, `${row.passed} checks passed and ${row.failed} failed; ${passed} and ${failed} are known of the fixture`);
    }
  }
  const a = outcomes(direct.results);
  const b = outcomes(proxied.results);
  for (const check of new Set([...a.keys(), ...b.keys()])) {
    if (a.get(check) !== b.get(check)) {
      fault(proxied.row, `${check} is ${b.get(check) ?? 'absent'}, directly ${a.get(check) ?? 'absent'}${reason(proxied.results, check)}`);
    }
  }
  if (proxied.row.verdict === 'ok') proxied.row.verdict = 'equal';

  const converted = score('converted');
  const expected = new Set(read(path.join(here, `expected-${revision}.yml`)).server);
  const stale = new Set(expected);
  for (const [check, status] of outcomes(converted.results)) {
    if (!status.includes('FAILURE')) continue;
    const [scenario] = check.split(':');
    const entry = [check, scenario].find((e) => expected.has(e));
    if (entry) stale.delete(entry);
    else fault(converted.row, `${check} fails${reason(converted.results, check)}`);
  }
  for (const entry of stale) fault(converted.row, `${entry} passes: take it out of expected-${revision}.yml`);
  if (converted.row.verdict === 'ok') converted.row.verdict = 'as expected';
}

if (flag === '--json') {
  console.log(JSON.stringify({ ok: faults.length === 0, rows, faults }, null, 2));
} else {
  const table = rows.map((r) => [r.revision, r.target, `${r.requiredPassed}/${r.required}`, r.passed, r.failed, r.verdict]);
  table.unshift(['REVISION', 'TARGET', 'REQUIRED', 'PASSED', 'FAILED', 'VERDICT']);
  for (const cells of table) console.log(cells.map((c, i) => String(c).padEnd(i === 5 ? 0 : 12)).join(''));
  for (const f of faults) console.log(f);
}
process.exitCode = faults.length === 0 ? 0 : 1;

function read(file) {
  return parse(fs.readFileSync(file, 'utf8'));
}

// load gives the checks by scenario. The suite makes a directory server-SCENARIO-TIME for each.
function load(dir) {
  const results = new Map();
  for (const entry of fs.existsSync(dir) ? fs.readdirSync(dir) : []) {
    const scenario = /^server-(.*)-\d{4}-\d\d-\d\dT/.exec(entry)?.[1];
    const file = path.join(dir, entry, 'checks.json');
    if (scenario && fs.existsSync(file)) results.set(scenario, JSON.parse(fs.readFileSync(file, 'utf8')));
  }
  return results;
}

// outcomes gives by scenario:check how it ended; ids that occur more than once have all their ends in one.
function outcomes(results) {
  const ends = new Map();
  for (const [scenario, checks] of results) {
    for (const c of checks) {
      const name = `${scenario}:${c.id}`;
      ends.set(name, [...(ends.get(name) ?? []), c.status]);
    }
  }
  return new Map([...ends].map(([name, all]) => [name, all.sort().join(' ')]));
}

// reason is what the suite says of a check that failed.
function reason(results, check) {
  const [scenario, id] = check.split(/:(.*)/);
  const failed = results.get(scenario)?.find((c) => c.id === id && c.status === 'FAILURE');
  return failed?.errorMessage ? ` (${failed.errorMessage})` : '';
}
