// Recent activity, derived from counts that only grow. No elements and no requests in here.

const OUTCOMES = ['hit', 'negative', 'stale', 'revalidated', 'collapsed', 'waited', 'bypass', 'miss'];
// Seconds that one point of a chart looks back: short enough to be lively, long enough to be calm.
const SMOOTH = 10;
// Seconds that are kept.
const KEPT = 15 * 60 + 30;
// A longer time without a sample is a gap.
const GAP = 45;

const sum = (counts) => Object.values(counts || {}).reduce((all, count) => all + count, 0);

// Newer minus older, key by key. A count that fell belongs to a tenant that is gone.
function since(newer, older) {
  const out = {};
  for (const [key, count] of Object.entries(newer || {})) {
    out[key] = Math.max(0, count - ((older || {})[key] || 0));
  }
  return out;
}

function together(one, other) {
  const out = { ...one };
  for (const [key, count] of Object.entries(other || {})) out[key] = (out[key] || 0) + count;
  return out;
}

const MAPS = ['outcomes', 'answers', 'not_stored', 'evictions', 'rate_limited', 'upstream'];
const NUMBERS = ['upstream_failed', 'covered'];
const TIMES = ['cache', 'fetched', 'upstream'];

// The difference between two totals of one run.
function between(newer, older) {
  const delta = { seconds: newer.uptime_seconds - older.uptime_seconds, times: {} };
  for (const map of MAPS) delta[map] = since(newer[map], older[map]);
  for (const which of TIMES) {
    delta.times[which] = newer.times[which].map((count, at) => Math.max(0, count - older.times[which][at]));
  }
  for (const key of NUMBERS) delta[key] = Math.max(0, newer[key] - older[key]);
  return delta;
}

function added(one, other) {
  if (!one) return other;
  const all = { seconds: one.seconds + other.seconds, times: {} };
  for (const map of MAPS) all[map] = together(one[map], other[map]);
  for (const which of TIMES) all.times[which] = one.times[which].map((count, at) => count + other.times[which][at]);
  for (const key of NUMBERS) all[key] = one[key] + other[key];
  return all;
}

// The quantile that a histogram gives, straight between a bucket's bounds; what is above the last
// bound is shown as that bound. `null` if nothing was measured.
function quantile(counts, bounds, share) {
  const all = counts.reduce((total, count) => total + count, 0);
  if (all === 0) return null;
  let left = share * all;
  for (let at = 0; at < counts.length; at += 1) {
    if (counts[at] > 0 && left <= counts[at]) {
      if (at >= bounds.length) return bounds[bounds.length - 1];
      const low = at === 0 ? 0 : bounds[at - 1];
      return low + (bounds[at] - low) * Math.max(0, left) / counts[at];
    }
    left -= counts[at];
  }
  return bounds[bounds.length - 1];
}

// Fresh answers of the cache, remembered 404s among them, as a share of all lookups.
function hitRatio(outcomes) {
  const all = sum(outcomes);
  return all === 0 ? null : ((outcomes.hit || 0) + (outcomes.negative || 0)) / all;
}

// The samples of the last minutes. A restart begins a new run, whose counts start at 0.
class Series {
  constructor() {
    this.samples = [];
    this.run = 0;
  }

  get last() {
    return this.samples[this.samples.length - 1];
  }

  // Whether these totals are of another process than the last.
  isRestart(totals) {
    return this.last !== undefined && totals.uptime_seconds < this.last.totals.uptime_seconds;
  }

  beginRun() {
    this.run += 1;
  }

  // Takes totals that were read at `clock` milliseconds; older ones than the last are known already.
  add(totals, clock) {
    const last = this.last;
    if (last && last.run === this.run && totals.uptime_seconds <= last.totals.uptime_seconds) return;
    const sample = { run: this.run, clock, totals, delta: null };
    const before = this.before(totals.uptime_seconds - SMOOTH);
    if (before && totals.uptime_seconds - before.totals.uptime_seconds <= GAP) {
      sample.delta = between(totals, before.totals);
    }
    this.samples.push(sample);
    while (this.samples.length > 0 && clock - this.samples[0].clock > KEPT * 1000) this.samples.shift();
  }

  // The newest sample of this run that is at least so old, else the oldest of this run.
  before(uptime) {
    let found;
    for (let at = this.samples.length - 1; at >= 0 && this.samples[at].run === this.run; at -= 1) {
      found = this.samples[at];
      if (found.totals.uptime_seconds <= uptime + 0.5) break;
    }
    return found;
  }

  // All that happened in the last `seconds`, across restarts; `null` if nothing was seen.
  lately(seconds) {
    const last = this.last;
    if (!last) return null;
    let all = null;
    let first = null;
    let before = null;
    for (const sample of this.samples.filter((one) => last.clock - one.clock <= (seconds + 1) * 1000)) {
      if (first && sample.run !== first.run) {
        if (before !== first) all = added(all, between(before.totals, first.totals));
        first = null;
      }
      first = first || sample;
      before = sample;
    }
    return before !== first ? added(all, between(before.totals, first.totals)) : all;
  }

  // The points of the last `seconds`, in unbroken stretches.
  stretches(seconds) {
    const all = [];
    let stretch = [];
    const last = this.last;
    for (const sample of this.samples) {
      if (last.clock - sample.clock > seconds * 1000) continue;
      const before = stretch[stretch.length - 1];
      if (before && (sample.run !== before.run || sample.clock - before.clock > GAP * 1000)) {
        all.push(stretch);
        stretch = [];
      }
      if (sample.delta && sample.delta.seconds > 0) stretch.push(sample);
    }
    if (stretch.length > 0) all.push(stretch);
    return all;
  }
}

