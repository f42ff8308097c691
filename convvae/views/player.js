// A button that counts; the next tick waits until the picture of the last one has been asked for

function render({model, el}) {
  const button = document.createElement('button');
  let timer = null;
  function tick() {
    model.set('value', (model.get('value') + 1) % (model.get('most') + 1));
    model.save_changes();
    timer = setTimeout(tick, model.get('interval'));
  }
  function label() {
    button.textContent = timer === null ? 'Play' : 'Pause';
  }
  function stop() {
    clearTimeout(timer);
    timer = null;
  }
  button.className = 'jupyter-button widget-button';
  button.onclick = () => {
    if (timer === null) tick();
    else stop();
    label();
  };
  label();
  el.append(button);
  return stop;
}

export default {render};
