// Asking the gateway. The admin token lives in this file's one variable and nowhere else.

class ApiError extends Error {
  constructor(status, message, details) {
    super(message);
    this.status = status;
    this.details = details || [];
  }
}

const api = (() => {
  let token = '';
  let asking = null;
  const PATIENCE = 8000;

  async function request(method, path) {
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    let response;
    try {
      response = await fetch(path, {
        method, headers, cache: 'no-store', credentials: 'omit', redirect: 'error', signal: AbortSignal.timeout(PATIENCE),
      });
      const text = await response.text();
      const body = text ? JSON.parse(text) : null;
      if (response.ok) return body;
      const error = (body && body.error) || {};
      throw new ApiError(response.status, error.message || `HTTP ${response.status}`, error.details);
    } catch (problem) {
      if (problem instanceof ApiError) throw problem;
      throw new ApiError(response ? response.status : 0, 'The gateway does not answer');
    }
  }

  // Asks for the token, once for all who wait for it. Resolves to whether one was given.
  function prompt(isWrong) {
    if (asking) return asking;
    const dialog = byId('token-dialog');
    const input = byId('token');
    byId('token-wrong').hidden = !isWrong;
    input.value = '';
    asking = new Promise((resolve) => {
      const done = (given) => {
        token = given;
        input.value = '';
        byId('forget').hidden = given === '';
        asking = null;
        dialog.close();
        resolve(given !== '');
      };
      byId('token-form').onsubmit = (event) => {
        event.preventDefault();
        done(input.value.trim());
      };
      byId('token-cancel').onclick = () => done('');
      dialog.oncancel = (event) => {
        event.preventDefault();
        done('');
      };
    });
    dialog.showModal();
    input.focus();
    return asking;
  }

  async function ask(method, path) {
    for (;;) {
      const used = token;
      try {
        return await request(method, path);
      } catch (error) {
        // Another token may have been entered meanwhile: try that one.
        if (error.status !== 401 || (used === token && !(await prompt(used !== '')))) throw error;
      }
    }
  }

  return {
    get: (path) => ask('GET', path),
    post: (path) => ask('POST', path),
    remove: (path) => ask('DELETE', path),
    forget() {
      token = '';
      byId('forget').hidden = true;
    },
  };
})();

// The path of a tenant's cache, or of one call in it.
const pathOf = (area, ...parts) => [`/api/v1/${area}`, ...parts.map(encodeURIComponent)].join('/');

