// Signing in and up: two small forms that show the server's own words when something is wrong.
import { post } from './api.js';

const forms = { 'sign-in': document.getElementById('sign-in'), 'sign-up': document.getElementById('sign-up') };
const titles = { 'sign-in': 'Sign in', 'sign-up': 'Make an account' };

function show(which) {
  for (const [name, form] of Object.entries(forms)) form.hidden = name !== which;
  document.getElementById('welcome-title').textContent = titles[which];
  forms[which].querySelector('input').focus();
}

const signIn = (name, password) => post('/api/auth/login', { email: name, password }, { patient: false });

const actions = {
  'sign-in': (fields) => signIn(fields.name, fields.password),
  'sign-up': async (fields) => {
    await post('/api/auth/register', fields, { patient: false });
    return signIn(fields.username, fields.password);
  },
};

async function submit(name, event, onSignedIn) {
  event.preventDefault();
  const form = forms[name];
  const problem = form.querySelector('.problem');
  const button = form.querySelector('button.main');
  problem.textContent = '';
  button.disabled = true;
  try {
    const { user } = await actions[name](Object.fromEntries(new FormData(form)));
    form.reset();
    onSignedIn(user);
  } catch (error) {
    problem.textContent = error.message;
  } finally {
    button.disabled = false;
  }
}

export function startWelcome(onSignedIn) {
  for (const name of Object.keys(forms)) {
    forms[name].addEventListener('submit', (event) => submit(name, event, onSignedIn));
  }
  for (const button of document.querySelectorAll('[data-show]')) {
    button.addEventListener('click', () => show(button.dataset.show));
  }
}

export const showWelcome = () => show('sign-in');
