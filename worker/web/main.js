// The page's table of contents: who is here, and which of the two views they see.
import { get, post } from './api.js';
import { closeLibrary, openLibrary, startLibrary } from './library.js';
import { showWelcome, startWelcome } from './welcome.js';

const el = (id) => document.getElementById(id);

function signedIn(user) {
  el('user-name').textContent = user.username;
  el('account').hidden = false;
  el('welcome').hidden = true;
  el('library').hidden = false;
  openLibrary();
}

function signedOut() {
  closeLibrary();
  el('account').hidden = true;
  el('library').hidden = true;
  el('welcome').hidden = false;
  showWelcome();
}

startWelcome(signedIn);
startLibrary();
window.addEventListener('signed-out', signedOut);
el('sign-out').addEventListener('click', async () => {
  await post('/api/auth/logout').catch(() => {});
  signedOut();
});

// A session may live in the cookies; without one the 'signed-out' event shows the way in.
get('/api/auth/verify').then(({ user }) => signedIn(user)).catch((error) => {
  if (error.status !== 401) signedOut();
});
