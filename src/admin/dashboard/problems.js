// The gateway's list of problems. What is a problem, and since when, is decided by the gateway alone.

// The kinds that degrade service; all others fail requests.
const WARNINGS = ['upstream-paused', 'upstream-limit-spent', 'rate-limit-spent', 'callers-unauthorized', 'key-promoted', 'level-down', 'cache-thrashing', 'log-lines-dropped'];

class Problems {
  // `reveal` brings a tenant's row into view.
  constructor(reveal) {
    this.reveal = reveal;
    this.items = new Map();
  }

  show(stats) {
    const problems = stats.problems.map((problem) => ({ ...problem, mood: WARNINGS.includes(problem.kind) ? 'warn' : 'bad' }));
    if (stats.state !== 'ready') {
      problems.unshift({ kind: stats.state, tenant: null, since: null, message: 'The gateway takes no new traffic.', mood: 'warn' });
    }
    const news = [];
    const shown = problems.map((problem) => {
      const key = `${problem.kind}/${problem.tenant || ''}`;
      let item = this.items.get(key);
      if (!item) {
        item = this.item(problem);
        this.items.set(key, item);
        news.push(`${problem.kind} ${problem.tenant || ''}: ${problem.message}`);
      }
      // Counts in it change with every reading; only a new problem is read out.
      write(item.message, problem.message);
      write(item.since, problem.since ? `since ${clockTime(Date.parse(problem.since))}` : '');
      return [key, item];
    });
    this.items = new Map(shown);
    arrange(byId('problems'), shown.map(([, item]) => item.node));
    if (news.length > 0) say(news.join('. '));
  }

  item({ kind, tenant, mood }) {
    const [message, since] = [element('span', { className: 'message' }), element('span', { className: 'soft' })];
    const node = element('li', { className: mood }, element('strong', { textContent: kind }), tenant && this.link(tenant), message, since);
    return { node, message, since };
  }

  link(tenant) {
    const link = element('a', { href: `#tenant-${tenant}`, textContent: tenant });
    link.addEventListener('click', () => this.reveal(tenant));
    return link;
  }
}

