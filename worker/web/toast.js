// Short messages at the foot of the page, with at most one thing to press.

const place = document.getElementById('toasts');

// Goes after `seconds`; `onGone` is called once, with whether the action was pressed.
export function toast(text, { action, seconds = 6, onGone } = {}) {
  const box = document.createElement('div');
  const words = document.createElement('span');
  let timer = null;
  const go = (pressed) => {
    if (!box.isConnected) return;
    clearTimeout(timer);
    box.remove();
    onGone?.(pressed);
  };

  box.className = 'toast';
  words.textContent = text;
  box.append(words);
  if (action) {
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = action;
    button.addEventListener('click', () => go(true));
    box.append(button);
  }
  place.append(box);
  timer = setTimeout(() => go(false), seconds * 1000);
  return go;
}
