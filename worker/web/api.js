// Talks to the server: cookies carry the session, so no token is ever kept in the page.

export class ApiError extends Error {
  constructor(status, body) {
    super(body?.message || body?.error || (status ? `The server answered ${status}.` : 'The server cannot be reached.'));
    this.status = status;
  }
}

const cookie = (name) =>
  document.cookie.split('; ').find((part) => part.startsWith(name + '='))?.slice(name.length + 1);

const pause = (ms, signal) => new Promise((resolve, reject) => {
  const timer = setTimeout(resolve, ms);
  signal?.addEventListener('abort', () => { clearTimeout(timer); reject(signal.reason); }, { once: true });
});

async function send(method, path, { body, signal, keepalive, csrf = 'csrf_access_token' } = {}) {
  const headers = { Accept: 'application/json' };
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  if (method !== 'GET') headers['X-CSRF-TOKEN'] = cookie(csrf) ?? '';
  try {
    return await fetch(path, {
      method, headers, signal, keepalive,
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new ApiError(0);
  }
}

// Parallel calls that find the token expired share one refresh.
let refreshing = null;
export function refresh() {
  refreshing ??= send('POST', '/api/auth/refresh', { body: {}, csrf: 'csrf_refresh_token' })
    .then((answer) => answer.ok)
    .finally(() => { refreshing = null; });
  return refreshing;
}

// Here a 401 is the answer, not an expired session.
const OWN_401 = /^\/api\/auth\/(login|register|refresh|logout)$/;

// One call. An expired token is refreshed once; a limit is waited out quietly.
export async function call(method, path, options = {}) {
  let mayRefresh = !OWN_401.test(path);
  for (let tries = 0; ; tries++) {
    const answer = await send(method, path, options);
    if (answer.status === 401 && mayRefresh) {
      mayRefresh = false;
      if (await refresh().catch(() => false)) continue;
      window.dispatchEvent(new Event('signed-out'));
    }
    if (answer.status === 429 && options.patient !== false && tries < 5) {
      const seconds = Number(answer.headers.get('Retry-After')) || 2 ** tries;
      await pause(Math.min(seconds, 30) * 1000, options.signal);
      continue;
    }
    const body = await answer.json().catch(() => null);
    if (!answer.ok) throw new ApiError(answer.status, body);
    return body;
  }
}

export const get = (path, options) => call('GET', path, options);
export const post = (path, body, options) => call('POST', path, { ...options, body });
export const del = (path, options) => call('DELETE', path, options);
