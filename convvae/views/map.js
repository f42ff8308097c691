// A map of latent space, for `LatentMap` and for the page that `to_html` writes. What it shows is a
// view: points (float32 u, v in turn), labels (a byte each, or null), names and colours of the
// labels, half (the map goes from -half to half), axes (two names), tiles (a JPEG of decoded
// images, or null), ink (there are none, `paint` brings letters to stand on the page's own ground).

const mapCss = `
.cv-map, .cv-page { font: 14px/1.45 system-ui, sans-serif; }
.cv-map { width: 400px; max-width: 100%; box-sizing: border-box; padding: 3px; }
.cv-pad { position: relative; aspect-ratio: 1; touch-action: none; cursor: crosshair;
  border: 1px solid #8888; border-radius: 6px; overflow: hidden; }
.cv-pad:focus-visible { outline: 3px solid #3b82f6; outline-offset: 1px; }
.cv-pad canvas { position: absolute; inset: 0; width: 100%; height: 100%; }
.cv-dot { position: absolute; width: 18px; height: 18px; margin: -9px 0 0 -9px;
  border: 3px solid #fff; border-radius: 50%; outline: 2px solid #000; box-sizing: border-box;
  pointer-events: none; }
.cv-held .cv-dot { background: #e11d48; }
.cv-pressed { cursor: grabbing; }
.cv-row { display: flex; flex-wrap: wrap; gap: 2px 9px; align-items: center; margin-top: 4px; }
.cv-row label { display: inline-flex; gap: 5px; align-items: center; min-height: 24px; }
.cv-row input[type=checkbox] { width: 24px; height: 24px; margin: 0; accent-color: #2563eb; }
.cv-map :is(input, select, button):focus-visible { outline: 3px solid #3b82f6;
  outline-offset: 1px; }
.cv-key { display: inline-flex; align-items: center; gap: 4px; }
.cv-key i { width: 10px; height: 10px; border-radius: 50%; }
.cv-hint { opacity: .75; font-size: 12.5px; }
`;
const mapHint = {
  mouse: 'Move over the map, or use the arrow keys. A click holds the place, the next one lets go.',
  finger: 'Touch the map and move the finger.',
};
const still = 4;                                // pixels that a click may move, and be no drag

const byFinger = () => matchMedia('(hover: none)').matches;

function checkbox(text) {
  const box = el('input', {type: 'checkbox', checked: true});
  return {box, label: el('label', {}, box, text)};
}

function mapElements() {
  const canvas = el('canvas');
  const dot = el('div', {className: 'cv-dot'});
  const aria = {
    role: 'slider', label: 'Map of latent space: arrow keys move the pointer',
    valuemin: -1, valuemax: 1, valuenow: 0,
  };
  const pad = el('div', {className: 'cv-pad', tabIndex: 0, aria}, canvas, dot);
  const place = el('div', {className: 'cv-row', aria: {live: 'off'}});
  const key = el('div', {className: 'cv-row'});
  const points = checkbox('points');
  const tiles = checkbox('decoded images');
  const boxes = el('div', {className: 'cv-row'}, points.label, tiles.label);
  const hint = el('div', {className: 'cv-hint'}, mapHint[byFinger() ? 'finger' : 'mouse']);
  const whole = el('div', {className: 'cv-map'}, pad, place, key, boxes, hint);
  return {canvas, dot, pad, place, key, points, tiles, whole};
}

// u and v as shares of the map's width and height, from its upper left, and back
const toShares = ([u, v], half) => [(u/half + 1)/2, (1 - v/half)/2];
const fromShares = ([x, y], half) => [(2*x - 1)*half, (1 - 2*y)*half];

function drawMap(parts, {view, points, labels, picture}) {
  const {canvas, pad} = parts;
  const showPoints = parts.points.box.checked;
  const side = Math.max(300, Math.round(pad.clientWidth*(window.devicePixelRatio || 1)));
  const context = canvas.getContext('2d');
  canvas.width = canvas.height = side;
  if (picture && parts.tiles.box.checked) {
    if (!view.ink) {                            // ink stands on the page, light on black
      context.fillStyle = '#000';
      context.fillRect(0, 0, side, side);
    }
    context.globalAlpha = showPoints && points.length ? .45 : 1;
    context.drawImage(picture, 0, 0, side, side);
  }
  if (!showPoints) return;
  context.globalAlpha = .9;
  const radius = side/400*(points.length > 1200 ? 2 : 3);
  for (let i = 0; i < points.length/2; i++) {
    const [x, y] = toShares(points.subarray(2*i, 2*i + 2), view.half);
    context.fillStyle = labels ? view.colours[labels[i]] : '#3b82f6';
    context.beginPath();
    context.arc(x*side, y*side, radius, 0, 7);
    context.fill();
  }
}

// The number of the point that is nearest to a place
function nearest(points, [u, v]) {
  let best = 0;
  let least = Infinity;
  for (let i = 0; i < points.length/2; i++) {
    const distance = (points[2*i] - u)**2 + (points[2*i + 1] - v)**2;
    if (distance < least) {
      least = distance;
      best = i;
    }
  }
  return best;
}

function describe({view, points, labels}, at) { // a place, in words
  const text = view.axes.map((name, i) => `${name} = ${fixed(at[i], 2)}`).join(', ');
  return labels ? `${text}, nearest point: ${view.names[labels[nearest(points, at)]]}` : text;
}

function keyOf({view, labels}) {                // the colours of the labels
  if (!labels) return [];
  return view.names.map((name, i) =>
    el('span', {className: 'cv-key'}, el('i', {style: `background:${view.colours[i]}`}), name));
}

const arrows = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1]};

function latentMap(root, onmove) {              // onmove gets [u, v]
  const parts = mapElements();
  const {pad, dot} = parts;
  root.append(el('style', {textContent: mapCss}), parts.whole);
  let shown = null;
  let at = [0, 0];
  let held = false;
  let pressed = null;                           // where a button went down
  const draw = () => drawMap(parts, shown);

  function put(next) {                          // the pointer, without telling anybody
    const {half} = shown.view;
    at = next.map(v => clamp(v, -half, half));
    const [x, y] = toShares(at, half);
    dot.style.left = `${100*x}%`;
    dot.style.top = `${100*y}%`;
    const text = describe(shown, at);
    parts.place.textContent = text;
    pad.setAttribute('aria-valuenow', fixed(at[0]/half, 2));
    pad.setAttribute('aria-valuetext', text);
  }
  function move(next) {
    put(next);
    onmove(at);
  }
  function follow(event) {
    const box = pad.getBoundingClientRect();
    const shares = [(event.clientX - box.left)/box.width, (event.clientY - box.top)/box.height];
    move(fromShares(shares, shown.view.half));
  }
  function hold(next) {
    held = next;
    pad.classList.toggle('cv-held', held);
  }
  function press(event) {
    pad.focus({preventScroll: true});
    pad.setPointerCapture(event.pointerId);     // a drag may leave the map and come back
    pad.classList.add('cv-pressed');
    pressed = {x: event.clientX, y: event.clientY, moved: false};
    follow(event);
  }
  function drag(event) {
    if (pressed) {
      const way = Math.hypot(event.clientX - pressed.x, event.clientY - pressed.y);
      pressed.moved ||= way > still;
    }
    if (pressed || !held) follow(event);
  }
  function release(event) {                     // a drag ends where it ends; a click holds or not
    if (!pressed) return;
    if (event.pointerType === 'mouse') hold(pressed.moved || !held);
    pad.classList.remove('cv-pressed');
    pressed = null;
  }
  function step(event) {
    const direction = arrows[event.key];
    if (!direction) return;
    event.preventDefault();
    event.stopPropagation();                    // notebooks have shortcuts of their own
    const size = shown.view.half/(event.shiftKey ? 8 : 40);
    move([at[0] + direction[0]*size, at[1] + direction[1]*size]);
  }
  pad.addEventListener('pointermove', drag);
  pad.addEventListener('pointerdown', press);
  for (const end of ['pointerup', 'pointercancel']) pad.addEventListener(end, release);
  pad.addEventListener('keydown', step);
  for (const {box} of [parts.points, parts.tiles]) box.addEventListener('change', draw);
  new ResizeObserver(() => shown && draw()).observe(pad);

  function show(view, where) {
    const before = shown;
    const mine = {view, points: floats(view.points), labels: view.labels && bytes(view.labels)};
    shown = mine;
    parts.key.replaceChildren(...keyOf(shown));
    parts.tiles.label.style.display = view.tiles || view.ink ? '' : 'none';
    if (view.ink && !before) parts.points.box.checked = false;
    if (view.tiles) {
      const image = new Image();
      image.onload = () => {
        mine.picture = image;
        if (shown === mine) draw();
      };
      image.src = URL.createObjectURL(new Blob([bytes(view.tiles)], {type: 'image/jpeg'}));
    }
    put(where);
    draw();
  }
  function paint(picture) {                     // what the map shows behind its points
    shown.picture = picture;
    draw();
  }
  return {put, show, paint, pad};
}
