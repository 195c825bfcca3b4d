// The state of the process: header, problems, tiles, charts, and counts by kind.

const OUTCOME_WORDS = {
  hit: 'hit', negative: 'negative', stale: 'stale', revalidated: 'revalidated', collapsed: 'collapsed', waited: 'waited', bypass: 'bypass', miss: 'miss',
};
// The time that tiles and lists speak of, in seconds.
const LATELY = 300;

class Overview {
  constructor(series) {
    this.series = series;
    this.range = 900;
    this.bounds = [];
    this.which = 'all';
    this.tiles = new Map();
    for (const [name, label] of [
      ['ratio', 'Hit ratio'], ['lookups', 'Lookups'], ['latency', 'Latency, p99'], ['covered', 'Covered in an outage'], ['upstream', 'Upstream'], ['errors', 'Server errors'], ['cache', 'Cached'],
    ]) this.addTile(name, label);
    this.charts = this.makeCharts();
    byId('charts').append(...this.charts.map((chart) => chart.node));
    this.lists = [
      ['answers', 'Answers to callers, by status'], ['upstream', 'Upstream answers and failures'],
      ['not_stored', 'Not stored, by reason'], ['evictions', 'Left the cache, by cause'],
    ].map(([map, label]) => this.makeList(map, label));
    for (const button of document.querySelectorAll('[data-range]')) {
      button.addEventListener('click', () => this.setRange(Number(button.dataset.range)));
    }
  }

  addTile(name, label) {
    const [value, unit, note] = [element('span', {}), element('span', { className: 'unit' }), element('div', { className: 'note' })];
    const big = element('div', { className: 'value', id: `tile-${name}` }, value, ' ', unit);
    byId('tiles').append(element('div', { className: 'card tile' }, element('div', { className: 'name', textContent: label }), big, note));
    this.tiles.set(name, (figure, measure, remark) => {
      write(value, figure);
      write(unit, measure);
      write(note, remark);
    });
  }

  makeCharts() {
    const perSecond = (count, delta) => count / delta.seconds;
    const buttons = [['all', 'All'], ['cache', 'From cache'], ['fetched', 'Fetched']].map(([which, label]) => {
      const button = element('button', { type: 'button', textContent: label, 'aria-pressed': String(which === this.which) });
      button.addEventListener('click', () => {
        this.which = which;
        buttons.forEach((one) => one.setAttribute('aria-pressed', String(one === button)));
        this.drawCharts();
      });
      return button;
    });
    return [
      new Chart({
        name: 'lookups', label: 'Lookups per second, by outcome', kind: 'stack', scale: 'rate', format: rate, axis: rate, empty: 'No lookups yet',
        keys: OUTCOMES.map((key) => ({ key, label: OUTCOME_WORDS[key], css: key })),
        value: (delta, key) => perSecond(delta.outcomes[key] || 0, delta),
      }),
      new Chart({
        name: 'ratio', label: 'Answered without waiting for the upstream', kind: 'lines', scale: 'share', format: percent, axis: (share) => `${share * 100} %`, empty: 'No lookups yet',
        keys: [{ key: 'fresh', label: 'hit ratio', css: 'one' }, { key: 'any', label: 'stale answers too', css: 'two' }, { key: 'covered', label: 'covered in an outage', css: 'three' }],
        value: (delta, key) => {
          const ratio = hitRatio(delta.outcomes);
          if (ratio !== null && key === 'covered') return Math.min(1, delta.covered / sum(delta.outcomes));
          return ratio === null || key === 'fresh' ? ratio : ratio + (delta.outcomes.stale || 0) / sum(delta.outcomes);
        },
      }),
      new Chart({
        name: 'latency', label: 'Time to answer lookups', kind: 'lines', scale: 'time', format: time, axis: time, empty: 'No lookups yet',
        tools: [element('span', { role: 'group', 'aria-label': 'Lookups shown' }, ...buttons)],
        keys: [{ key: 0.5, label: 'p50', css: 'one' }, { key: 0.95, label: 'p95', css: 'two' }, { key: 0.99, label: 'p99', css: 'three' }],
        value: (delta, key) => quantile(this.times(delta, this.which), this.bounds, key),
      }),
      new Chart({
        name: 'upstream', label: 'Upstream requests per second', kind: 'stack', scale: 'rate', format: rate, axis: rate, empty: 'Nothing was asked upstream',
        keys: [{ key: 'good', label: 'answered', css: 'revalidated' }, { key: 'failed', label: 'failed', css: 'three' }],
        value: (delta, key) => perSecond(key === 'failed' ? delta.upstream_failed : Math.max(0, sum(delta.upstream) - delta.upstream_failed), delta),
      }),
    ];
  }

  times(delta, which) {
    if (which !== 'all') return delta.times[which];
    return delta.times.cache.map((number, at) => number + delta.times.fetched[at]);
  }

  makeList(map, label) {
    const list = element('ul', { className: 'bars' });
    byId('lists').append(element('div', { className: 'card' }, element('h3', { textContent: label }), list));
    return { map, list };
  }

  setRange(range) {
    this.range = range;
    for (const button of document.querySelectorAll('[data-range]')) {
      button.setAttribute('aria-pressed', String(Number(button.dataset.range) === range));
    }
    this.drawCharts();
  }

  show(stats) {
    this.bounds = stats.latency.bounds_seconds;
    this.showHeader(stats);
    this.showTiles(stats, this.series.lately(LATELY));
    this.drawCharts();
    this.showLists(this.series.lately(LATELY));
  }

  showHeader(stats) {
    write(byId('version'), `${stats.version} (${stats.revision})`);
    write(byId('state'), stats.state);
    byId('state').className = `chip ${stats.state === 'ready' ? 'good' : 'warn'}`;
    write(byId('uptime'), `up ${span(stats.uptime_seconds)}`);
    const failed = stats.last_reload && stats.last_reload.problems.length > 0;
    const loaded = clockTime(Date.parse(stats.reloads.loaded_at));
    write(byId('reloaded'), failed ? `last reload rejected, running the configuration of ${loaded}` : `configuration of ${loaded}`);
  }

  showTiles(stats, delta) {
    const tenants = Object.values(stats.tenants);
    const newest = this.series.last.delta;
    const outcomes = delta ? delta.outcomes : {};
    const all = sum(outcomes);
    const part = (number, of) => (of > 0 ? number / of : null);
    this.tiles.get('ratio')(percent(hitRatio(outcomes)), '', all > 0 ? `stale ${percent(outcomes.stale / all)} · ${count(all)} lookups` : 'no lookups lately');
    const asked = newest ? sum(newest.outcomes) / newest.seconds : 0;
    this.tiles.get('lookups')(rate(asked), '/s', `${count(stats.requests_in_flight)} in flight · ${count(stats.connections)} connections`);
    const p99 = (which) => (delta ? quantile(this.times(delta, which), this.bounds, 0.99) : null);
    this.tiles.get('latency')(time(p99('all')), '', `cache ${time(p99('cache'))} · fetched ${time(p99('fetched'))}`);
    const { recent } = stats;
    this.tiles.get('covered')(percent(part(recent.covered, recent.lookups)), '', `${count(recent.saved)} upstream requests saved`);
    const sent = newest ? sum(newest.upstream) / newest.seconds : 0;
    const under = tenants.reduce((total, tenant) => total + tenant.upstream.in_flight, 0);
    const failing = delta ? part(delta.upstream_failed, sum(delta.upstream)) : null;
    this.tiles.get('upstream')(rate(sent), '/s', `${percent(failing)} failed · ${count(under)} in flight`);
    const answers = Object.entries(delta ? delta.answers : {});
    const status = (test) => answers.reduce((total, [code, number]) => total + (test(Number(code)) ? number : 0), 0);
    const answered = status(() => true);
    this.tiles.get('errors')(percent(part(status((code) => code >= 500), answered)), '', `429: ${count(status((code) => code === 429))} · 401: ${count(status((code) => code === 401))}`);
    const held = tenants.reduce((total, tenant) => total + tenant.cache.bytes, 0);
    const room = tenants.reduce((total, tenant) => total + tenant.cache.max_bytes, 0);
    const entries = tenants.reduce((total, tenant) => total + tenant.cache.entries, 0);
    this.tiles.get('cache')(count(entries), entries === 1 ? 'entry' : 'entries', `${bytes(held)} of ${bytes(room)}`);
  }

  drawCharts() {
    if (!this.series.last) return;
    // A gateway that has just started gets charts as long as its life.
    const age = (this.series.last.clock - this.series.samples[0].clock) / 1000;
    const range = Math.min(this.range, Math.max(90, age));
    const stretches = this.series.stretches(range);
    for (const chart of this.charts) chart.update(stretches, range, this.series.last.clock);
  }

  showLists(delta) {
    const seen = this.series.last.clock - this.series.samples[0].clock;
    write(byId('counts-range'), `in the last ${span(Math.min(LATELY, Math.max(1, seen / 1000)))}`);
    for (const { map, list } of this.lists) {
      const rows = Object.entries(delta ? delta[map] : {}).filter(([, number]) => number > 0).sort((one, other) => other[1] - one[1]);
      const most = rows.length > 0 ? rows[0][1] : 1;
      arrangeBars(list, rows, most);
    }
  }
}

function moodOf(code) {
  if (/^[45]\d\d$/.test(code)) return code >= '500' ? 'bad' : 'warn';
  if (['connect', 'timeout', 'reset', 'invalid', 'identity'].includes(code)) return 'bad';
  return /^[23]\d\d$/.test(code) ? 'good' : '';
}

function arrangeBars(list, rows, most) {
  if (rows.length === 0) {
    list.replaceChildren(element('li', { className: 'soft', textContent: 'nothing' }));
    return;
  }
  list.replaceChildren(...rows.map(([name, number]) => {
    const inner = element('div', { className: 'fill' });
    inner.style.width = `${Math.max(1, number / most * 100).toFixed(1)}%`;
    return element('li', { className: moodOf(name) }, element('span', { textContent: name }), element('div', { className: 'rail', 'aria-hidden': 'true' }, inner), element('span', { textContent: count(number) }));
  }));
}

