// What needs a look, in sentences.

const EVENTS = {
  key_rejections: 'The upstream rejected the key of',
  key_promotions: 'The next upstream key took over for',
  identity_mismatches: 'The upstream answered about another call to',
};

// Every problem with how bad it is. `seen` knows when something was last seen of a tenant: what comes
// and goes is told for a while, so that the list keeps still.
function problemsOf(stats, seen) {
  const problems = [];
  const named = (test) => Object.entries(stats.tenants).filter(([name, tenant]) => test(tenant, name)).map(([name]) => name);
  const add = (mood, names, words) => {
    if (names.length > 0) problems.push({ mood, text: `${words}: ${someOf(names)}` });
  };
  const lately = (name, kind, seconds) => Date.now() - (seen.get(`${name}/${kind}`) || 0) < seconds * 1000;
  if (stats.state !== 'ready') problems.push({ mood: 'warn', text: `The gateway is ${stats.state}: it takes no new traffic` });
  if (stats.last_reload && stats.last_reload.problems.length > 0) {
    const when = clockTime(Date.parse(stats.last_reload.at));
    problems.push({ mood: 'bad', text: `The reload at ${when} failed and changed nothing`, details: stats.last_reload.problems });
  }
  add('bad', named((tenant) => tenant.upstream.identity_mismatches > 0), 'The upstream has answered about other calls than asked for');
  add('bad', named((tenant, name) => lately(name, 'key_rejections', LATELY)), 'The upstream rejects the key');
  add('bad', named((tenant) => tenant.upstream.breaker === 'open'), 'The breaker is open; stale entries are served where there are any');
  add('warn', named((tenant) => tenant.upstream.breaker === 'half-open'), 'The breaker lets single probes through');
  add('warn', named((tenant) => tenant.upstream.paused_seconds > 0), 'The upstream asked to wait (429)');
  add('warn', named((tenant, name) => lately(name, 'connections', 30)), 'Every upstream connection was in use');
  add('warn', named((tenant, name) => lately(name, 'limit-tenant', 60)), 'The rate limit refuses callers (429)');
  add('warn', named((tenant, name) => lately(name, 'limit-upstream', 60)), 'The upstream budget is spent');
  if (stats.log_lines_dropped > 0) {
    problems.push({ mood: 'warn', text: `${count(stats.log_lines_dropped)} log lines were dropped, because their reader was too slow` });
  }
  return problems;
}

function someOf(names) {
  const shown = names.slice(0, 8).join(', ');
  return names.length > 8 ? `${shown} and ${names.length - 8} more` : shown;
}

// Shows them; leaves the list alone while nothing has changed, so that it is read out only once.
function showProblems(problems) {
  const list = byId('problems');
  const known = JSON.stringify(problems);
  if (list.dataset.known === known) return;
  list.dataset.known = known;
  const item = ({ mood, text, details }) => element('li', { className: mood }, text, details ? element('ul', {}, ...details.map((line) => element('li', { className: 'mono', textContent: line }))) : null);
  list.replaceChildren(...problems.map(item));
}

