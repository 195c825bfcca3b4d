// The table of tenants, and what is wrong with any of them.

// Rows that are shown at once: more would be neither read nor drawn in time.
const MOST_ROWS = 100;

const COLUMNS = [
  { name: 'tenant', label: 'Tenant', left: true, order: (row) => row.name },
  { name: 'rate', label: 'Lookups', order: (row) => -row.figures.rate },
  { name: 'ratio', label: 'Hit ratio', order: (row) => row.figures.ratio ?? 2 },
  { name: 'errors', label: 'Errors', order: (row) => -row.figures.errors },
  { name: 'cache', label: 'Cache', order: (row) => -row.tenant.cache.bytes / row.tenant.cache.max_bytes },
  { name: 'streams', label: 'Streams', order: (row) => -(row.tenant.media ? row.tenant.media.streams : -1) },
  { name: 'waits', label: 'Waiting', order: (row) => -row.tenant.waits.waiting },
  { name: 'limit', label: 'Limit left', order: (row) => leftShare(row.tenant.limit_left) ?? 2 },
  { name: 'upstream', label: 'Upstream', order: (row) => -row.figures.failed },
  { name: 'budget', label: 'Upstream budget left', order: (row) => leftShare(row.tenant.upstream.budget_left) ?? 2 },
  { name: 'breaker', label: 'Breaker', order: (row) => ['open', 'half-open', 'closed'].indexOf(row.tenant.upstream.breaker) },
];

const leftShare = (left) => (left ? left.remaining / left.burst : null);

class Tenants {
  constructor(purge) {
    this.purge = purge;
    this.rows = new Map();
    this.sorted = 'tenant';
    this.body = element('tbody', { role: 'rowgroup' });
    const head = element('tr', { role: 'row' }, ...COLUMNS.map((column) => this.header(column)), element('th', { scope: 'col', role: 'columnheader' }, element('span', { className: 'unseen', textContent: 'Actions' })));
    byId('tenants').append(element('table', { role: 'table', 'aria-labelledby': 'h-tenants' }, element('thead', { role: 'rowgroup' }, head), this.body));
    byId('filter').addEventListener('input', () => this.arrange());
  }

  header(column) {
    const button = element('button', { type: 'button', className: 'plain', textContent: column.label });
    column.cell = element('th', { scope: 'col', role: 'columnheader', className: column.left ? 'left' : '' }, button);
    button.addEventListener('click', () => {
      this.sorted = column.name;
      this.arrange();
    });
    return column.cell;
  }

  show(stats, isNewRun) {
    for (const [name, tenant] of Object.entries(stats.tenants)) {
      let row = this.rows.get(name);
      if (!row) {
        row = new Row(name, () => this.purge({ tenant: name }));
        this.rows.set(name, row);
      }
      row.show(tenant, stats.uptime_seconds, isNewRun);
    }
    for (const name of [...this.rows.keys()].filter((known) => !(known in stats.tenants))) this.rows.delete(name);
    this.arrange();
  }

  // Brings a tenant's row into view, past a filter that hides it.
  reveal(name) {
    const row = this.rows.get(name);
    if (!row) return;
    if (!row.node.isConnected) {
      byId('filter').value = name;
      this.arrange();
    }
    row.node.focus();
  }

  arrange() {
    const wanted = byId('filter').value.trim().toLowerCase();
    const column = COLUMNS.find((one) => one.name === this.sorted);
    for (const one of COLUMNS) one.cell.setAttribute('aria-sort', one === column ? 'ascending' : 'none');
    const compare = (one, other) => {
      const [a, b] = [column.order(one), column.order(other)];
      return a < b ? -1 : a > b ? 1 : one.name.localeCompare(other.name);
    };
    const found = [...this.rows.values()].filter((row) => row.name.includes(wanted)).sort(compare);
    const shown = found.slice(0, MOST_ROWS);
    arrange(this.body, shown.map((row) => row.node));
    byId('filter-label').hidden = this.rows.size < 9;
    write(byId('tenants-shown'), shown.length < this.rows.size ? `${shown.length} of ${this.rows.size}` : '');
  }
}

class Row {
  constructor(name, purge) {
    this.name = name;
    this.samples = [];
    this.cells = new Map();
    const cell = (column, ...children) => element('td', { role: 'cell', 'data-label': column.label }, ...children);
    const parts = { rate: plainCell(), ratio: splitCell(), errors: plainCell(), cache: meter(), streams: meter(), waits: plainCell(), limit: meter(), upstream: plainCell(), budget: meter(), breaker: chipCell() };
    for (const [column, part] of Object.entries(parts)) this.cells.set(column, part);
    const cells = COLUMNS.slice(1).map((column) => cell(column, element('div', {}, ...parts[column.name].node)));
    const button = element('button', { type: 'button', textContent: 'Purge…', 'aria-label': `Purge the cache of ${name}` });
    button.addEventListener('click', purge);
    const head = element('th', { scope: 'row', role: 'rowheader', textContent: name });
    this.node = element('tr', { role: 'row', id: `tenant-${name}`, tabIndex: -1 }, head, ...cells, element('td', { role: 'cell' }, button));
  }

  show(tenant, uptime, isNewRun) {
    this.tenant = tenant;
    if (isNewRun) this.samples = [];
    this.samples.push({ uptime, outcomes: tenant.outcomes, answers: tenant.answers, sent: sum(tenant.upstream.requests), failed: tenant.upstream.failed });
    this.samples = this.samples.filter((sample) => uptime - sample.uptime <= LATELY);
    // Every sample of the last seconds, and beyond that one in ten seconds.
    this.samples = this.samples.filter((sample, at, all) => at === 0 || uptime - sample.uptime <= SMOOTH + 2 || sample.uptime - all[at - 1].uptime >= SMOOTH - 2);
    this.figures = this.reckon(uptime);
    this.write();
  }

  reckon(uptime) {
    const last = this.samples[this.samples.length - 1];
    const recent = [...this.samples].reverse().find((sample) => uptime - sample.uptime >= SMOOTH - 0.5) || this.samples[0];
    const seconds = last.uptime - recent.uptime;
    const perSecond = (number) => (seconds > 0 ? number / seconds : 0);
    const lately = since(last.outcomes, this.samples[0].outcomes);
    const isLately = sum(lately) > 0;
    const outcomes = isLately ? lately : last.outcomes;
    const sent = last.sent - this.samples[0].sent;
    const answers = since(last.answers, this.samples[0].answers);
    const failed = Object.entries(answers).reduce((all, [status, number]) => (status >= '500' ? all + number : all), 0);
    return {
      rate: perSecond(sum(since(last.outcomes, recent.outcomes))),
      all: sum(last.outcomes),
      outcomes,
      isLately,
      ratio: hitRatio(outcomes),
      errors: failed / Math.max(1, sum(answers)),
      failures: failed,
      limited: answers[429] || 0,
      sent: perSecond(Math.max(0, last.sent - recent.sent)),
      failed: sent > 0 ? Math.max(0, last.failed - this.samples[0].failed) / sent : 0,
    };
  }

  write() {
    const { figures, tenant } = this;
    this.cells.get('rate').set(`${rate(figures.rate)}/s`, `${count(figures.all)} in all`);
    this.cells.get('ratio').set(percent(figures.ratio), [figures.all > 0 && !figures.isLately ? 'since the start' : '', covered(tenant.recent)].filter(Boolean).join(' · '), figures.outcomes);
    this.cells.get('errors').set(percent(figures.errors), `${count(figures.failures)} × 5xx · ${count(figures.limited)} × 429`);
    const fill = tenant.cache.bytes / tenant.cache.max_bytes;
    this.cells.get('cache').set(`${count(tenant.cache.entries)} · ${bytes(tenant.cache.bytes)} of ${bytes(tenant.cache.max_bytes)}`, fill, fill > 0.9 ? 'full' : '');
    this.streams(tenant.media);
    const { waiting, watches } = tenant.waits;
    this.cells.get('waits').set(count(waiting), `${count(watches)} ${watches === 1 ? 'call' : 'calls'} polled`);
    this.limit('limit', tenant.limit_left);
    const { upstream } = tenant;
    this.cells.get('upstream').set(`${rate(figures.sent)}/s`, `${percent(figures.failed)} failed · ${count(upstream.in_flight)} in flight`);
    this.limit('budget', upstream.budget_left);
    const mood = { closed: 'good', 'half-open': 'warn', open: 'bad' }[upstream.breaker];
    const key = upstream.key_rejected ? 'key rejected' : upstream.key === 'next' ? 'next key in use' : '';
    const pause = upstream.paused_seconds > 0 ? `paused ${span(Math.ceil(upstream.paused_seconds))}` : '';
    this.cells.get('breaker').set(upstream.breaker, mood, [pause, key].filter(Boolean).join(' · '));
  }

  streams(media) {
    const share = media ? media.streams / media.max_streams : null;
    const words = media ? `${count(media.streams)} of ${count(media.max_streams)}` : 'no media';
    this.cells.get('streams').set(words, share, share > 0.8 ? 'full' : '');
  }

  limit(column, left) {
    const share = leftShare(left);
    const words = left ? `${count(left.remaining)} of ${count(left.burst)}` : 'no limit';
    this.cells.get(column).set(words, share, share === 0 ? 'spent' : share !== null && share < 0.2 ? 'full' : '');
  }
}

const covered = ({ covered: number, lookups }) => (lookups > 0 ? `${percent(number / lookups)} covered` : '');

function plainCell() {
  const [main, sub] = [element('span', {}), element('span', { className: 'sub' })];
  return {
    node: [main, sub],
    set(text, note) {
      write(main, text);
      write(sub, note);
    },
  };
}

// A share with a bar of the outcomes it is made of.
function splitCell() {
  const cell = plainCell();
  const pieces = new Map(OUTCOMES.map((key) => [key, element('span', { className: key })]));
  const bar = element('span', { className: 'split', 'aria-hidden': 'true' }, ...pieces.values());
  return {
    node: [...cell.node, bar],
    set(text, note, outcomes) {
      cell.set(text, note);
      const all = sum(outcomes);
      for (const [key, piece] of pieces) piece.style.width = `${(all > 0 ? (outcomes[key] || 0) / all * 100 : 0).toFixed(2)}%`;
    },
  };
}

function chipCell() {
  const [chip, sub] = [element('span', { className: 'chip' }), element('span', { className: 'sub' })];
  return {
    node: [chip, sub],
    set(text, mood, note) {
      write(chip, text);
      chip.className = `chip ${mood || ''}`;
      write(sub, note);
    },
  };
}

