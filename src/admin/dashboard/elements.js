// Elements and words. Everything that is shown goes in as text.

const byId = (id) => document.getElementById(id);

// An element with properties and children; strings become text.
function element(tag, properties, ...children) {
  const made = document.createElement(tag);
  fill(made, properties, children);
  return made;
}

function drawn(tag, attributes, ...children) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes || {})) made.setAttribute(name, String(value));
  made.append(...children);
  return made;
}

function fill(made, properties, children) {
  for (const [name, value] of Object.entries(properties || {})) {
    if (name.includes('-') || name === 'role' || name === 'scope' || name === 'for') made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
}

// Writes text where it differs, so that readers and selections are left alone.
function write(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

// Announces a line to those who can't see what has changed.
function say(text) {
  byId('said').textContent = text;
}

const NOTHING = '–';
const plain = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });

const count = (number) => plain.format(number);

function rate(perSecond) {
  if (perSecond === null || perSecond === undefined) return NOTHING;
  if (perSecond === 0) return '0';
  if (perSecond < 0.1) return '<0.1';
  return perSecond < 10 ? perSecond.toFixed(1) : plain.format(perSecond);
}

function percent(share) {
  if (share === null || share === undefined) return NOTHING;
  const value = share * 100;
  // Never round up to a perfect score, nor down to none.
  if (value > 99.9 && value < 100) return '99.9 %';
  if (value > 0 && value < 0.1) return '<0.1 %';
  return `${value === 0 || value === 100 ? value : value.toFixed(1)} %`;
}

function time(seconds) {
  if (seconds === null || seconds === undefined) return NOTHING;
  if (seconds < 0.000_995) return `${(seconds * 1e6).toFixed(0)} µs`;
  if (seconds < 0.009_95) return `${(seconds * 1e3).toFixed(1)} ms`;
  if (seconds < 0.995) return `${(seconds * 1e3).toFixed(0)} ms`;
  return seconds < 9.995 ? `${seconds.toFixed(1)} s` : `${seconds.toFixed(0)} s`;
}

function bytes(number) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  let value = number;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 || value >= 100 ? value.toFixed(0) : value.toFixed(1)} ${units[unit]}`;
}

function span(seconds) {
  const whole = Math.floor(Math.abs(seconds));
  const parts = [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']];
  const first = parts.findIndex(([unit]) => whole >= unit);
  if (first < 0) return '0 s';
  const [unit, name] = parts[first];
  const rest = parts[first + 1];
  const more = rest ? Math.floor((whole % unit) / rest[0]) : 0;
  return `${Math.floor(whole / unit)} ${name}${more > 0 ? ` ${more} ${rest[1]}` : ''}`;
}

const clockTime = (milliseconds) => new Date(milliseconds).toLocaleTimeString('en-GB');
const clockMinutes = (milliseconds) => clockTime(milliseconds).slice(0, 5);

// A bar with its text above it.
function meter() {
  const inner = element('span', {});
  const bar = element('span', { className: 'meter', 'aria-hidden': 'true' }, inner);
  const words = element('span', {});
  return {
    node: [words, bar],
    set(text, share, mood) {
      write(words, text);
      bar.hidden = share === null;
      bar.className = `meter ${mood || ''}`;
      inner.style.width = `${Math.min(100, Math.max(0, (share || 0) * 100)).toFixed(1)}%`;
    },
  };
}

// Puts children in this order with as few moves as possible, and keeps the focus where it is.
function arrange(parent, children) {
  const focused = document.activeElement;
  for (const stray of [...parent.children].filter((child) => !children.includes(child))) stray.remove();
  children.forEach((child, at) => {
    if (parent.children[at] !== child) parent.insertBefore(child, parent.children[at] || null);
  });
  if (focused && focused !== document.activeElement && parent.contains(focused)) focused.focus();
}

