// Reading the figures again and again, through restarts of the gateway and without haste.

const EVERY = 2000;
// While the page is hidden.
const SELDOM = 10_000;
const MOST_EVENTS = 60;

(() => {
  const series = new Series();
  const overview = new Overview(series);
  const tell = (text) => {
    const now = new Date();
    const stamp = element('time', { textContent: clockTime(now), dateTime: now.toISOString() });
    byId('events').prepend(element('li', {}, stamp, element('span', { textContent: text })));
    while (byId('events').childElementCount > MOST_EVENTS) byId('events').lastChild.remove();
  };
  let timer = 0;
  let isReading = false;
  let isPaused = false;
  let isLocked = false;
  let failures = 0;
  let before = null;
  const actions = new Actions(tell, () => soon(0));
  const tenants = new Tenants((scope) => actions.purge(scope));
  const problems = new Problems((tenant) => tenants.reveal(tenant));

  function soon(delay) {
    clearTimeout(timer);
    timer = setTimeout(read, delay);
  }

  async function read() {
    if (isReading) return;
    isReading = true;
    const began = Date.now();
    let wait = document.hidden ? SELDOM : EVERY;
    try {
      const stats = await api.get('/api/v1/stats');
      const isRestart = series.isRestart(stats.totals);
      if (isRestart) series.beginRun();
      const gap = series.last ? Date.now() - series.last.clock : Infinity;
      if (isRestart || gap > 3 * SELDOM) await readHistory(stats);
      // Calls in between must not see a mixture.
      show(stats, isRestart);
      // A gateway with very many tenants is asked less often.
      wait = Math.max(wait, 5 * (Date.now() - began));
    } catch (error) {
      wait = lost(error);
    }
    isReading = false;
    if (!isPaused && !isLocked) soon(wait);
  }

  // The gateway's history from before this page was opened.
  async function readHistory(stats) {
    const now = Date.now();
    const { samples } = await api.get('/api/v1/history');
    for (const sample of samples.filter((one) => one.uptime_seconds < stats.totals.uptime_seconds)) {
      series.add(sample, now - (stats.totals.uptime_seconds - sample.uptime_seconds) * 1000);
    }
  }

  function show(stats, isRestart) {
    series.add(stats.totals, Date.now());
    const wasLost = failures > 0;
    failures = 0;
    byId('lost').hidden = true;
    document.body.classList.remove('dim');
    write(byId('link'), isPaused ? 'paused' : 'live');
    if (isRestart) {
      tell(`The gateway has restarted: ${stats.version} (${stats.revision})`);
    } else if (wasLost) tell('The gateway answers again');
    else if (!before) tell('Connected');
    if (before && !isRestart) compare(before, stats);
    before = stats;
    overview.show(stats);
    tenants.show(stats, isRestart);
    actions.offer(stats.tenants);
    problems.show(stats);
    const ratio = series.lately(LATELY);
    document.title = `${percent(ratio ? hitRatio(ratio.outcomes) : null)} hits · credira-gateway`;
  }

  // Tells what has changed between two readings.
  function compare(old, now) {
    if (old.state !== now.state) tell(`State: ${now.state}`);
    if ((old.last_reload || {}).at !== (now.last_reload || {}).at) {
      const problems = now.last_reload.problems.length;
      tell(problems > 0 ? `A reload was rejected: ${problems} problem${problems === 1 ? '' : 's'}` : 'The configuration was reloaded');
    }
    for (const [name, tenant] of Object.entries(now.tenants)) {
      const was = old.tenants[name];
      if (!was) {
        tell(`New tenant: ${name}`);
        continue;
      }
      if (was.upstream.breaker !== tenant.upstream.breaker) tell(`Breaker of ${name}: ${tenant.upstream.breaker}`);
    }
    const key = (problem) => `${problem.kind} ${problem.tenant || ''}`.trim();
    const [was, is] = [old, now].map((stats) => stats.problems.map(key));
    for (const begun of is.filter((one) => !was.includes(one))) tell(`Problem: ${begun}`);
    for (const ended of was.filter((one) => !is.includes(one))) tell(`No longer a problem: ${ended}`);
    for (const name of Object.keys(old.tenants).filter((known) => !(known in now.tenants))) tell(`Tenant removed: ${name}`);
  }

  // Tells that there is no answer, and for how many milliseconds to wait.
  function lost(error) {
    isLocked = error.status === 401 || error.status === 403;
    failures += 1;
    const wait = Math.min(8000, 1000 * 2 ** Math.min(3, failures - 1));
    const words = isLocked ? `${error.message}.` : `${error.message}. Trying again every few seconds; what is shown is from ${series.last ? clockTime(series.last.clock) : 'before'}.`;
    write(byId('lost-why'), words);
    byId('unlock').hidden = error.status !== 401;
    if (failures > 1 || isLocked) {
      byId('lost').hidden = false;
      document.body.classList.add('dim');
      write(byId('link'), isLocked ? 'locked' : 'reconnecting');
      write(byId('state'), isLocked ? 'locked' : 'no answer');
      byId('state').className = 'chip bad';
    }
    if (failures === 2 && !isLocked) tell('The gateway does not answer');
    return wait;
  }

  byId('unlock').addEventListener('click', () => {
    isLocked = false;
    soon(0);
  });
  byId('forget').addEventListener('click', () => {
    api.forget();
    isLocked = false;
    soon(0);
  });
  byId('pause').addEventListener('click', () => {
    isPaused = !isPaused;
    byId('pause').setAttribute('aria-pressed', String(isPaused));
    write(byId('link'), isPaused ? 'paused' : 'live');
    if (isPaused) clearTimeout(timer);
    else soon(0);
  });
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden && !isPaused && !isLocked) soon(0);
  });
  soon(0);
})();
