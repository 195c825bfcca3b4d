// The operator's actions: look up a call, purge, reload, show the configuration.

// Asks before something is done. With a `word`, it has to be typed.
function confirmed({ title, text, go, word }) {
  const dialog = byId('confirm-dialog');
  const input = byId('confirm-word');
  write(byId('confirm-title'), title);
  write(byId('confirm-text'), text);
  write(byId('confirm-go'), go);
  byId('confirm-field').hidden = !word;
  byId('confirm-wrong').hidden = true;
  write(byId('confirm-label'), word ? `Type ${word} to confirm` : '');
  input.value = '';
  return new Promise((resolve) => {
    const done = (answer) => {
      dialog.close();
      resolve(answer);
    };
    byId('confirm-form').onsubmit = (event) => {
      event.preventDefault();
      if (!word || input.value.trim() === word) return done(true);
      write(byId('confirm-wrong'), `That is not ${word}.`);
      byId('confirm-wrong').hidden = false;
      input.focus();
    };
    byId('confirm-cancel').onclick = () => done(false);
    dialog.oncancel = (event) => {
      event.preventDefault();
      done(false);
    };
    dialog.showModal();
    (word ? input : byId('confirm-cancel')).focus();
  });
}

class Actions {
  // `tell` writes into the list of events; `refresh` reads the figures again.
  constructor(tell, refresh) {
    this.tell = tell;
    this.refresh = refresh;
    byId('search').addEventListener('submit', (event) => {
      event.preventDefault();
      this.explain();
    });
    byId('purge-all').addEventListener('click', () => this.purge({}));
    byId('reload').addEventListener('click', () => this.reload());
    byId('config').addEventListener('toggle', () => this.showConfig());
  }

  // Keeps the list of tenants to choose from.
  offer(tenants) {
    const select = byId('search-tenant');
    const names = Object.keys(tenants);
    if (names.join() === [...select.options].map((option) => option.value).join()) return;
    const chosen = select.value;
    select.replaceChildren(...names.map((name) => element('option', { value: name, textContent: name })));
    if (names.includes(chosen)) select.value = chosen;
  }

  async explain() {
    const [tenant, id] = [byId('search-tenant').value, byId('search-id').value.trim()];
    const target = byId('explanation');
    try {
      target.replaceChildren(...told(await api.get(pathOf('explain', tenant, id)), () => this.purge({ tenant, id })));
    } catch (error) {
      target.replaceChildren(element('p', { className: 'verdict wrong', textContent: `${error.message}.` }));
    }
  }

  async purge({ tenant, id }) {
    const what = id ? `${id} of ${tenant}` : tenant ? `the cache of ${tenant}` : 'every tenant’s cache';
    const text = id
      ? 'The next lookup of this call asks the upstream.'
      : 'Every lookup asks the upstream until the cache has filled again.';
    const word = id ? '' : tenant || 'everything';
    if (!(await confirmed({ title: `Purge ${what}?`, text, go: 'Purge', word }))) return;
    await this.do(async () => {
      const { purged } = await api.remove(pathOf('cache', ...[tenant, id].filter(Boolean)));
      return `Purged ${what}: ${count(purged)} ${purged === 1 ? 'entry' : 'entries'}`;
    }, `Purging ${what} failed`);
    if (byId('explanation').childElementCount > 0 && byId('search').checkValidity()) this.explain();
  }

  async reload() {
    const text = 'The files are read again. If anything is wrong with them, nothing changes.';
    if (!(await confirmed({ title: 'Reload the configuration?', text, go: 'Reload' }))) return;
    await this.do(async () => {
      await api.post('/api/v1/reload');
      return 'Reloaded the configuration';
    }, 'The reload was rejected');
    this.showConfig();
  }

  async do(work, failure) {
    try {
      this.tell(await work());
    } catch (error) {
      this.tell(`${failure}: ${error.message}`);
    }
    this.refresh();
  }

  async showConfig() {
    if (!byId('config').open) return;
    try {
      write(byId('config-text'), JSON.stringify(await api.get('/api/v1/config'), null, 2));
    } catch (error) {
      write(byId('config-text'), error.message);
    }
  }
}

const VERDICTS = {
  hit: ['good', 'answered from the cache'],
  negative: ['good', 'answered with the remembered 404'],
  stale: ['warn', 'answered with a stale entry'],
  fetch: ['', 'fetched from the upstream'],
  follow: ['', 'a fetch in flight would be followed'],
  wait: ['', 'waits until the call is final'],
  refuse: ['bad', 'refused'],
};

// An explanation, as elements.
function told(explanation, purge) {
  const [mood, words] = VERDICTS[explanation.would] || ['', explanation.would];
  const chip = element('span', { className: `chip ${mood}`, textContent: explanation.code ? `${words}: ${explanation.code}` : words });
  const again = explanation.retry_after ? `; retry after ${explanation.retry_after} s` : '';
  const verdict = element('p', { className: 'verdict' }, chip, element('span', { textContent: `${explanation.because}${again}.` }));
  const stored = explanation.decisions.find((one) => one.step === 'entry' && one.details && one.details.kind);
  const steps = explanation.decisions.map((decision) => {
    const details = decision.step === 'entry' && stored ? null : decision.details;
    return element('li', {}, element('span', { className: 'soft', textContent: decision.step }), element('strong', { textContent: decision.result }), details ? listed(details) : null);
  });
  const entry = stored ? [entryOf(stored.details, purge)] : [];
  const media = explanation.media.map((one) => element('li', {}, element('span', { className: 'soft', textContent: one.kind }), element('strong', { textContent: one.code || one.would }), listed({
    why: one.because, link: one.link, host: one.host, 'expires in': one.expires_in_seconds === null ? null : span(one.expires_in_seconds), 'streams left': one.streams_left,
  })));
  const mediaList = media.length > 0 ? [element('h3', { textContent: 'Recording and transcription' }), element('ul', { className: 'steps' }, ...media)] : [];
  return [verdict, ...entry, element('h3', { textContent: 'Decisions, in order' }), element('ol', { className: 'steps' }, ...steps), ...mediaList];
}

// Names and values, nested names joined.
function listed(details) {
  const rows = [];
  const walk = (prefix, object) => {
    for (const [name, value] of Object.entries(object)) {
      const words = `${prefix}${name.replaceAll('_', ' ')}`;
      if (value !== null && typeof value === 'object') walk(`${words}: `, value);
      else if (value !== null) rows.push(element('dt', { textContent: words }), element('dd', { className: 'mono', textContent: String(value) }));
    }
  };
  walk('', details);
  return element('dl', {}, ...rows);
}

// The stored entry: its lifetime as a bar, and its properties.
function entryOf(entry, purge) {
  const facts = [
    ['Kept', entry.kind === 'call' ? 'the call' : 'a 404 of the upstream'],
    ['State', entry.state],
    ['Age', span(entry.age_seconds)],
    [entry.ttl_seconds >= 0 ? 'Fresh for' : 'Stale since', span(entry.ttl_seconds)],
    ['Lifetime', `${span(entry.freshness.lifetime_seconds)}, from ${entry.freshness.lifetime_from}`],
    ['Received', entry.received_at],
    ['Size', `${bytes(entry.size_bytes)}, body ${bytes(entry.body_bytes)}`],
    ['ETag', entry.etag],
    ['Last-Modified', entry.last_modified],
    ['Renewal', entry.revalidates ? 'may be answered 304' : 'needs a whole answer'],
  ];
  const rows = facts.filter(([, value]) => value !== null).flatMap(([name, value]) => [element('dt', { textContent: name }), element('dd', { textContent: value })]);
  const button = element('button', { type: 'button', className: 'danger', textContent: 'Purge this call…' });
  button.addEventListener('click', purge);
  return element('div', { className: 'entry' }, element('h3', { textContent: 'Stored entry' }), ...life(entry.freshness), element('dl', {}, ...rows), element('p', {}, button));
}

// Three spans, each as wide as is readable, and where in them the entry stands.
function life(terms) {
  const age = terms.initial_age_seconds + terms.resident_seconds;
  const spans = [['fresh', terms.lifetime_seconds, 'hit', 55]];
  if (!terms.never_stale) {
    const early = terms.stale_while_revalidate_seconds;
    const late = Math.max(0, terms.stale_if_error_seconds - early);
    if (early > 0) spans.push(['then served while it is renewed', early, 'stale', 22]);
    if (late > 0) spans.push(['then if the upstream fails', late, 'miss', 23]);
  }
  const scale = 100 / spans.reduce((all, [, , , width]) => all + width, 0);
  const drawing = [];
  let [left, from, now] = [0, 0, 100];
  for (const [, long, css, share] of spans) {
    const width = share * scale;
    drawing.push(drawn('rect', { class: css, x: left, y: 4, width: width - 0.3, height: 6, fill: 'currentColor' }));
    if (age >= from && age < from + long) now = left + width * (age - from) / long;
    [left, from] = [left + width, from + long];
  }
  now = Math.min(99.7, Math.max(0.3, now));
  drawing.push(drawn('line', { class: 'now', x1: now, x2: now, y1: 0, y2: 14 }));
  const words = spans.map(([name, long, css]) => element('li', {}, swatch(css), `${name} `, element('b', { textContent: span(long) })));
  const bar = drawn('svg', { class: 'life', viewBox: '0 0 100 14', preserveAspectRatio: 'none', role: 'img', 'aria-label': `Age ${span(age)}` }, ...drawing);
  return [bar, element('ul', { className: 'legend' }, ...words)];
}

