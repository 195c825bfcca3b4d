// Charts over time: areas on top of each other, or lines. Each has its figures as text below it,
// a cursor for mouse and arrow keys, and a table.

// Room for the labels at the left, at least.
const LEFT = 44;
// The width of a label's character, at most.
const GLYPH = 6.6;
const BOTTOM = 18;
const TOP = 6;
const LOWEST_TIME = 0.000_05;

// Round steps up to a little above the highest value.
function ticksUpTo(highest) {
  const rough = Math.max(highest, 1e-9) / 3;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= rough);
  const ticks = [];
  for (let tick = 0; tick < highest + step * 0.999; tick += step) ticks.push(Number(tick.toPrecision(6)));
  return ticks;
}

class Chart {
  // `keys`: what is drawn, each with a label and a class; `value(delta, key)`: a figure, or null;
  // `kind`: stack or lines; `scale`: rate, share or time; `format`: a figure as text.
  constructor(options) {
    Object.assign(this, options);
    this.node = element('figure', { className: 'card chart' });
    this.title = element('h3', { id: `chart-${this.name}`, textContent: this.label });
    this.extra = element('span', { className: 'soft' });
    this.svg = drawn('svg', { tabindex: 0, role: 'img', 'aria-labelledby': `chart-${this.name}` });
    this.svg.setAttribute('aria-describedby', `legend-${this.name}`);
    this.nothing = element('p', { className: 'nothing', textContent: this.empty });
    this.tip = element('ul', { className: 'tip', hidden: true, 'aria-hidden': 'true' });
    this.legend = element('ul', { className: 'legend', id: `legend-${this.name}` });
    this.figures = new Map();
    for (const { key, label, css } of this.keys) {
      const figure = element('b', {});
      this.figures.set(key, figure);
      this.legend.append(element('li', {}, swatch(css), `${label} `, figure));
    }
    this.table = element('div', { className: 'scroll', tabIndex: 0, role: 'region' });
    this.table.setAttribute('aria-label', `${this.label}, as a table`);
    this.details = element('details', {}, element('summary', { textContent: 'As a table' }), this.table);
    this.details.addEventListener('toggle', () => this.draw());
    const caption = element('figcaption', {}, this.title, this.extra, ...(this.tools || []));
    this.node.append(caption, this.svg, this.nothing, this.tip, this.legend, this.details);
    this.points = [];
    this.cursor = null;
    this.left = LEFT;
    this.listen();
  }

  listen() {
    const point = (event) => {
      const box = this.svg.getBoundingClientRect();
      this.moveTo(this.nearest(event.clientX - box.left));
    };
    this.svg.addEventListener('pointermove', point);
    this.svg.addEventListener('pointerdown', point);
    this.svg.addEventListener('pointerleave', () => this.moveTo(null));
    this.svg.addEventListener('blur', () => this.moveTo(null));
    this.svg.addEventListener('keydown', (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 }[event.key];
      if (event.key === 'Escape') this.moveTo(null);
      if (!step || this.points.length === 0) return;
      event.preventDefault();
      const from = this.cursor === null ? this.points.length : this.points.indexOf(this.cursor);
      this.moveTo(this.points[Math.min(this.points.length - 1, Math.max(0, from + step))]);
      say(`${clockTime(this.cursor.clock)}: ${this.words(this.cursor)}`);
    });
    new ResizeObserver(() => this.draw()).observe(this.svg);
  }

  update(stretches, range, clock) {
    this.range = range;
    this.clock = clock;
    this.stretches = stretches.map((stretch) => stretch.map((sample) => ({
      clock: sample.clock,
      values: this.keys.map(({ key }) => this.value(sample.delta, key)),
    })));
    const held = this.cursor && this.cursor.clock;
    this.points = this.stretches.flat();
    this.cursor = held ? this.points.find((one) => one.clock === held) || null : null;
    const last = this.points[this.points.length - 1];
    this.keys.forEach(({ key }, at) => write(this.figures.get(key), last ? this.format(last.values[at]) : NOTHING));
    // A share of 0 % is a figure; no lookups a second are none.
    const isFigure = (value) => (this.kind === 'stack' ? value > 0 : value !== null);
    this.nothing.hidden = this.points.some((one) => one.values.some(isFigure));
    this.draw();
  }

  words(one) {
    return this.keys.map(({ label }, at) => `${label} ${this.format(one.values[at])}`).join(', ');
  }

  x(clock) {
    return this.left + (this.width - this.left - 8) * (1 - (this.clock - clock) / (this.range * 1000));
  }

  y(value) {
    const tall = this.height - TOP - BOTTOM;
    let share = value / this.highest;
    if (this.scale === 'time') share = Math.log(value / LOWEST_TIME) / Math.log(this.highest / LOWEST_TIME);
    return TOP + tall * (1 - Math.min(1, Math.max(0, share)));
  }

  // The highest value of the scale, and the values that it marks.
  rule() {
    if (this.scale === 'share') return [0, 0.25, 0.5, 0.75, 1];
    const highest = Math.max(0, ...this.points.map((one) => {
      const known = one.values.filter((value) => value !== null);
      return this.kind === 'stack' ? known.reduce((all, value) => all + value, 0) : Math.max(0, ...known);
    }));
    if (this.scale === 'rate') return ticksUpTo(Math.max(highest, 1));
    return [0.000_1, 0.001, 0.01, 0.1, 1, 10].filter((tick, at, all) => at < 2 || all[at - 1] < highest);
  }

  draw() {
    const { width, height } = this.svg.getBoundingClientRect();
    if (!this.clock || width < 50) return;
    [this.width, this.height] = [width, height];
    const ticks = this.rule();
    this.highest = ticks[ticks.length - 1];
    this.left = Math.max(LEFT, 10 + GLYPH * Math.max(...ticks.map((tick) => this.axis(tick).length)));
    this.svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
    this.svg.replaceChildren(...this.axes(ticks), ...(this.kind === 'stack' ? this.areas() : this.lines()), ...this.mark());
    if (this.details.open) this.tell();
  }

  axes(ticks) {
    const drawing = ticks.flatMap((tick) => {
      const y = this.y(Math.max(tick, this.scale === 'time' ? LOWEST_TIME : 0));
      return [
        drawn('line', { class: 'grid', x1: this.left, x2: this.width - 8, y1: y, y2: y }),
        drawn('text', { class: 'tick', x: this.left - 6, y: y + 4, 'text-anchor': 'end' }, this.axis(tick)),
      ];
    });
    const room = Math.max(1, (this.width - this.left) / 80);
    const step = ([30, 60, 120, 300].find((seconds) => this.range / seconds <= room) || 600) * 1000;
    for (let clock = Math.floor(this.clock / step) * step; this.x(clock) > this.left + 14; clock -= step) {
      const label = step < 60_000 ? clockTime(clock) : clockMinutes(clock);
      if (this.x(clock) + GLYPH / 2 * label.length > this.width) continue;
      drawing.push(drawn('text', { class: 'tick', x: this.x(clock), y: this.height - 4, 'text-anchor': 'middle' }, label));
    }
    return drawing;
  }

  areas() {
    const drawing = [];
    for (const stretch of this.stretches) {
      let floor = stretch.map(() => 0);
      this.keys.forEach(({ css }, at) => {
        const roof = stretch.map((one, place) => floor[place] + (one.values[at] || 0));
        if (roof.some((value, place) => value > floor[place])) {
          const along = (values) => stretch.map((one, place) => `${this.x(one.clock).toFixed(1)},${this.y(values[place]).toFixed(1)}`);
          drawing.push(drawn('path', { class: `area ${css}`, d: `M${along(roof).join('L')}L${along(floor).reverse().join('L')}Z` }));
        }
        floor = roof;
      });
    }
    return drawing;
  }

  lines() {
    const drawing = [];
    // The first goes on top of the others.
    [...this.keys.entries()].reverse().forEach(([at, { css }]) => {
      for (const stretch of this.stretches) {
        let path = '';
        let pen = 'M';
        for (const one of stretch) {
          const value = one.values[at];
          path += value === null ? '' : `${pen}${this.x(one.clock).toFixed(1)},${this.y(value).toFixed(1)}`;
          pen = value === null ? 'M' : 'L';
        }
        // A lonely point would be invisible: it gets a short stroke.
        if (path) drawing.push(drawn('path', { class: `stroke ${css}`, d: path.replace(/M([^ML]+)(?=M|$)/g, 'M$1h1.5') }));
      }
    });
    return drawing;
  }

  mark() {
    this.tip.hidden = this.cursor === null;
    if (this.cursor === null) return [];
    const x = this.x(this.cursor.clock);
    const rows = this.keys.map(({ label, css }, at) => element('li', {}, swatch(css), label, element('b', {}, this.format(this.cursor.values[at]))));
    this.tip.replaceChildren(element('li', { className: 'soft' }, clockTime(this.cursor.clock)), ...rows);
    const right = x > this.width / 2;
    this.tip.style.left = right ? 'auto' : `${x + 24}px`;
    this.tip.style.right = right ? `${this.width - x + 24}px` : 'auto';
    this.tip.style.top = `${this.svg.offsetTop + 4}px`;
    return [drawn('line', { class: 'cursor', x1: x, x2: x, y1: TOP, y2: this.height - BOTTOM })];
  }

  nearest(x) {
    const far = (one) => Math.abs(this.x(one.clock) - x);
    return this.points.reduce((best, one) => (best === null || far(one) < far(best) ? one : best), null);
  }

  moveTo(point) {
    this.cursor = point;
    this.draw();
  }

  // One row a minute, the newest first.
  tell() {
    const rows = [];
    for (const one of [...this.points].reverse()) {
      const minute = clockMinutes(one.clock);
      if (rows.length > 0 && rows[rows.length - 1].minute === minute) continue;
      rows.push({ minute, one });
    }
    const head = ['Time', ...this.keys.map(({ label }) => label)].map((label) => element('th', { scope: 'col', textContent: label }));
    const body = rows.map(({ one }) => element('tr', {}, element('th', { scope: 'row', textContent: clockTime(one.clock) }), ...one.values.map((value) => element('td', { textContent: this.format(value) }))));
    this.table.replaceChildren(element('table', {}, element('thead', {}, element('tr', {}, ...head)), element('tbody', {}, ...body)));
  }
}

function swatch(css) {
  return element('span', { className: `swatch ${css}`, 'aria-hidden': 'true' });
}

