// The page that `atlas` writes: a plane of images, the one under the pointer, what the model makes
// of it, and what it makes of the place under the pointer

const atlasCss = `
body { margin: 0; }
#convvae { --line: color-mix(in srgb, CanvasText 16%, transparent);
  --soft: color-mix(in srgb, CanvasText 62%, transparent);
  --raised: color-mix(in srgb, CanvasText 4%, Canvas); --accent: #3b82f6; }
.cv-atlas { display: grid; grid-template: auto minmax(0, 1fr) / minmax(0, 1fr) 320px;
  height: 100dvh; box-sizing: border-box; background: Canvas;
  font: 14px/1.45 system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif; }
.cv-embedded .cv-atlas { height: auto; grid-template-rows: auto 540px; }
.cv-bar { grid-column: 1/3; display: flex; flex-wrap: wrap; gap: 8px 14px; align-items: center;
  padding: 10px 16px; border-bottom: 1px solid var(--line); }
.cv-bar h1 { font-size: 16px; font-weight: 650; margin: 0; letter-spacing: -.01em; min-width: 0;
  overflow-wrap: anywhere; }
.cv-bar .cv-soft { flex: 1; min-width: 8em; }
.cv-soft { color: var(--soft); font-size: 12.5px; }
.cv-atlas input[type=search], .cv-atlas select, .cv-atlas button { font: inherit; color: inherit;
  min-height: 32px; box-sizing: border-box; padding: 3px 10px; border: 1px solid var(--line);
  border-radius: 8px; background: Canvas; }
.cv-atlas input[type=search] { width: 100%; }
.cv-atlas :is(button, select) { cursor: pointer; }
.cv-atlas :focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }
.cv-search { position: relative; width: 240px; }
.cv-search output { position: absolute; right: 30px; top: 0; line-height: 32px; font-size: 12.5px;
  color: var(--soft); pointer-events: none; }
.cv-kind { display: inline-flex; }
.cv-kind button:first-child { border-radius: 8px 0 0 8px; border-right: 0; }
.cv-kind button:last-child { border-radius: 0 8px 8px 0; }
.cv-atlas button[aria-pressed=true] { background: color-mix(in srgb, var(--accent) 18%, Canvas);
  border-color: color-mix(in srgb, var(--accent) 50%, transparent); }
.cv-plane { position: relative; overflow: hidden; color: CanvasText; background: Canvas; }
.cv-plane canvas { position: absolute; inset: 0; width: 100%; height: 100%; color: CanvasText;
  image-rendering: auto; }
.cv-plane .cv-pointer { background-color: transparent; cursor: crosshair; touch-action: none; }
.cv-pointer:focus-visible { outline-offset: -3px !important; }
.cv-zoom { position: absolute; left: 12px; bottom: 12px; display: flex; flex-direction: column;
  gap: 4px; }
.cv-zoom button { width: 34px; padding: 0; font-size: 16px; }
.cv-zoom button:last-child { font-size: 13px; }
.cv-note { position: absolute; left: 58px; right: 12px; bottom: 12px; font-size: 12.5px;
  color: var(--soft); pointer-events: none; text-shadow: 0 0 4px Canvas, 0 0 4px Canvas; }
.cv-side { border-left: 1px solid var(--line); background: var(--raised); padding: 16px;
  overflow-y: auto; display: flex; flex-direction: column; gap: 14px; min-width: 0; }
.cv-pictures { display: grid; grid-template-columns: 1fr 1fr; gap: 10px; }
.cv-pictures figure { margin: 0; min-width: 0; }
.cv-pictures figure:first-child { grid-column: 1/3; }
.cv-pictures canvas { display: block; width: 100%; max-height: 300px; object-fit: contain;
  border-radius: 8px; background: color-mix(in srgb, CanvasText 7%, Canvas); }
.cv-sharp { image-rendering: pixelated; }
.cv-pictures figcaption { font-size: 12px; color: var(--soft); margin-top: 3px; }
.cv-name { font-weight: 600; overflow-wrap: anywhere; }
.cv-tags { display: flex; flex-wrap: wrap; gap: 4px 12px; align-items: center; }
.cv-dotted { display: inline-flex; align-items: center; gap: 6px; }
.cv-dotted i { width: 10px; height: 10px; border-radius: 50%; flex: none; }
.cv-numbers { display: grid; grid-template-columns: repeat(3, auto); justify-content: start;
  gap: 0 18px; margin: 6px 0 0; }
.cv-numbers div { display: flex; flex-direction: column; }
.cv-numbers dt { font-size: 12px; color: var(--soft); }
.cv-numbers dd { margin: 0; font-variant-numeric: tabular-nums; }
.cv-legend { display: flex; flex-wrap: wrap; gap: 5px; max-height: 190px; overflow-y: auto;
  padding: 2px; }
.cv-legend button { min-height: 28px; padding: 1px 9px; border-radius: 14px; font-size: 13px;
  max-width: 100%; overflow-wrap: anywhere; }
.cv-atlas .cv-legend button { background: Canvas; border-color: var(--line); }
.cv-legend button[aria-pressed=false] { opacity: .5; }
.cv-legend button[aria-pressed=false] i { background: transparent !important;
  box-shadow: inset 0 0 0 1.5px currentColor; }
.cv-legend small { color: var(--soft); }
.cv-row { display: flex; gap: 4px; align-items: center; flex-wrap: wrap; margin-bottom: 6px; }
.cv-row label { margin-right: auto; white-space: nowrap; }
.cv-row select { max-width: 112px; }
.cv-atlas .cv-row button { min-height: 26px; padding: 0 8px; font-size: 12.5px; }
.cv-ramp { height: 10px; border-radius: 5px; margin-bottom: 3px; }
.cv-ends { display: flex; justify-content: space-between; font-variant-numeric: tabular-nums; }
@media (max-width: 900px) {
  .cv-atlas { display: block; height: auto; }
  .cv-bar { padding: 10px 12px; }
  .cv-plane { height: 54dvh; min-height: 300px; }
  .cv-embedded .cv-plane { height: 420px; }
  .cv-side { border-left: 0; border-top: 1px solid var(--line); padding: 12px;
    flex-flow: row wrap; }
  .cv-side > * { flex: 1 1 100%; }
  .cv-side > .cv-pictures { flex: 2 1 340px; grid-template-columns: repeat(3, 1fr); }
  .cv-side > .cv-facts { flex: 1 1 190px; }
  .cv-pictures figure:first-child { grid-column: auto; }
  .cv-legend { max-height: none; }
}
@media (max-width: 560px) {
  .cv-search { flex: 1 0 160px; }
  .cv-bar .cv-soft { flex: 1 0 45%; }
}
`;

const viridis = ['#440154', '#472d7b', '#3b528b', '#2c728e', '#21918c', '#28ae80', '#5ec962',
  '#addc30', '#fde725'];

// Thumbnails, cut out of their sheets as soon as these are there
function thumbnailsOf(sheets, onload) {
  const {pictures, kind, size: [height, width], cell, columns, each} = sheets;
  const images = pictures.map(() => null);
  pictures.forEach(async (picture, i) => {
    const image = Object.assign(new Image(), {src: `data:${kind};base64,${picture}`});
    await image.decode();
    images[i] = await createImageBitmap(image);
    onload();
  });
  return (context, i, left, top, w, h) => {
    const image = images[Math.floor(i/each)];
    if (!image) return false;
    const [row, column] = [Math.floor(i%each/columns), i%each%columns];
    context.drawImage(image, column*cell[1], row*cell[0], width, height, left, top, w, h);
    return true;
  };
}

function figure(caption, [, height, width], sharp) {
  const aria = {role: 'img', label: caption};
  const className = sharp ? 'cv-sharp' : '';
  const canvas = el('canvas', {width, height, className, aria});
  const words = el('figcaption', {}, caption);
  return {canvas, context: canvas.getContext('2d'), whole: el('figure', {}, canvas, words)};
}

function showValues({context}, [channels, height, width], values) { // of the first channels
  const frame = context.createImageData(width, height);
  const area = height*width;
  for (let i = 0; i < area; i++) {
    for (let c = 0; c < 3; c++) frame.data[4*i + c] = 255*values[channels >= 3 ? c*area + i : i];
    frame.data[4*i + 3] = 255;
  }
  context.putImageData(frame, 0, 0);
}

// What is decoded: the latents of an image, and the place of the plane that the pointer is at
function decodings(data) {
  const {plane, size, side} = data;
  const decode = data.program && decoder(data.program);
  const latents = data.latents && halves(data.latents);
  const condition = data.condition && new Uint16Array(bytes(data.condition).buffer);
  const oneHot = i => Array.from({length: data.classes || 0}, (_, c) => Number(c === condition[i]));
  const Z = data.latent_dim;
  const latentOf = i => latents && [...latents.subarray(i*Z, (i + 1)*Z)];
  const latentAt = ([u, v]) =>
    plane && plane.centre.map((c, i) => c + u*plane.across[i] + v*plane.up[i]);
  const tiles = data.tiles && data.tiles.map(tile =>
    Object.assign(new Image(), {src: `data:image/jpeg;base64,${tile}`}));

  async function showTile({context, canvas}, [u, v], label) {
    const image = tiles[label];
    if (!image.complete) await image.decode();
    const nth = share => clamp(Math.floor(share*side), 0, side - 1);
    const [column, row] = [nth((u/plane.half + 1)/2), nth((1 - v/plane.half)/2)];
    const [w, h] = [image.naturalWidth/side, image.naturalHeight/side];
    context.drawImage(image, column*w, row*h, w, h, 0, 0, canvas.width, canvas.height);
  }
  return {
    decode, latentAt, latentOf,
    image: decode && latents && ((picture, i) =>
      showValues(picture, size, decode([...latentOf(i), ...oneHot(i)]))),
    place: plane && (decode
      ? (picture, place, i) => showValues(picture, size, decode([...latentAt(place), ...oneHot(i)]))
      : (picture, place, i) => showTile(picture, place, condition ? condition[i] : 0)),
  };
}

// The colours of the points: those of labels or parts, or a ramp along a number
function colourings(data, labels, test) {
  const ways = {};
  if (data.names.length) ways.label = {palette: data.colours, of: labels};
  if (test.some(v => v) && !test.every(v => v)) {
    ways['train or test'] = {palette: ['#64748b', '#f97316'], of: test};
  }
  for (const [name, source] of Object.entries(data.numbers)) {
    const values = floats(source);
    const sorted = values.slice().sort();
    const [low, high] = [.02, .98].map(share => sorted[Math.floor(share*(sorted.length - 1))]);
    const steps = viridis.length;
    const of = Uint16Array.from(values, value =>
      clamp(Math.floor((value - low)/(high - low || 1)*steps), 0, steps - 1));
    ways[name === 'elbo' ? 'ELBO' : name] = {palette: viridis, of, ends: [low, high]};
  }
  return ways;
}

function countsOf(of, n) {
  const counts = new Array(n).fill(0);
  for (const i of of) counts[i]++;
  return counts;
}

// Entries that can be switched off, and back on
function legendOf(names, counts, palette, onchange) {
  const on = names.map(() => true);
  const entries = names.map((name, i) => {
    const dot = el('i', {style: `background:${palette[i]}`});
    const small = el('small', {}, counts[i].toLocaleString('en'));
    return el('button', {type: 'button', className: 'cv-dotted', onclick: () => turn(i, !on[i])},
      dot, name, small);
  });
  function show() {
    entries.forEach((entry, i) => entry.setAttribute('aria-pressed', on[i]));
    onchange();
  }
  function turn(i, value) {
    on[i] = value;
    show();
  }
  function turnAll(value) {
    on.fill(value);
    show();
  }
  function paint(colours) {                     // null: something else has colours
    entries.forEach((entry, i) => {
      entry.querySelector('i').style.background = colours ? colours[i] : 'var(--soft)';
    });
  }
  entries.forEach(entry => entry.setAttribute('aria-pressed', true));
  return {on, turnAll, paint, whole: el('div', {className: 'cv-legend'}, ...entries)};
}

function rampOf({palette, ends}) {
  return el('div', {},
    el('div', {className: 'cv-ramp', style: `background:linear-gradient(90deg,${palette})`}),
    el('div', {className: 'cv-ends cv-soft'}, ...ends.map(v => el('span', {}, fixed(v, 1)))));
}

function nameOf(data, test, i) {                // the file, or the part and the number within it
  if (data.files && data.files[i]) return data.files[i];
  const before = test[i] ? data.firstTest : 0;
  return `${test[i] ? 'test' : 'train'} ${i - before}`;
}

function about(data, i, {name, test, labels, numbers}) {
  const tags = [];
  if (data.names.length) {
    const dot = el('i', {style: `background:${data.colours[labels[i]]}`});
    tags.push(el('span', {className: 'cv-dotted'}, dot, data.names[labels[i]]));
  }
  if (data.firstTest > 0) {                     // there are both parts
    tags.push(el('span', {className: 'cv-soft'}, test[i] ? 'test' : 'train'));
  }
  const rows = Object.entries(numbers).map(([what, values]) => el('div', {},
    el('dt', {}, what === 'elbo' ? 'ELBO' : what), el('dd', {}, fixed(values[i], 1))));
  return [el('div', {className: 'cv-name'}, name), el('div', {className: 'cv-tags'}, ...tags),
    el('dl', {className: 'cv-numbers', title: `${data.quantity} per image`}, ...rows)];
}

function kindButtons(onchange) {
  const buttons = ['Points', 'Pictures'].map((text, i) =>
    el('button', {type: 'button', onclick: () => turn(i)}, text));
  function turn(which) {
    buttons.forEach((button, i) => button.setAttribute('aria-pressed', i === which));
    onchange(which === 1);
  }
  return {turn, whole: el('div', {className: 'cv-kind', aria: {role: 'group', label: 'Show'}},
    ...buttons)};
}

// `onfind` gets which images are found, `ongo` one of them
function searchField(names, label, {onfind, ongo}) {
  const input = el('input', {type: 'search', placeholder: label, aria: {label}, spellcheck: false});
  const output = el('output', {aria: {live: 'polite'}});
  const lower = names.map(name => name.toLowerCase());
  let hits = [];
  let next = 0;
  input.addEventListener('input', () => {
    const wanted = input.value.trim().toLowerCase();
    hits = wanted ? [...lower.keys()].filter(i => lower[i].includes(wanted)) : [];
    next = 0;
    output.textContent = wanted ? hits.length.toLocaleString('en') : '';
    const found = new Uint8Array(names.length);
    for (const i of hits) found[i] = 1;
    onfind(wanted ? found : null);
  });
  input.addEventListener('keydown', event => {
    if (event.key !== 'Enter' || !hits.length) return;
    event.preventDefault();
    ongo(hits[next]);
    next = (next + 1)%hits.length;
  });
  return el('div', {className: 'cv-search'}, input, output);
}

function atlasPage(root, data) {
  const labels = new Uint16Array(bytes(data.labels).buffer);
  const test = bytes(data.test);
  const points = floats(data.points);
  const numbers = Object.fromEntries(Object.entries(data.numbers).map(([k, v]) => [k, floats(v)]));
  data.firstTest = test.indexOf(1);
  const names = [...test.keys()].map(i => nameOf(data, test, i));
  const ways = colourings(data, labels, test);
  const drawThumbnail = thumbnailsOf(data.sheets, () => {
    plot.redraw();
    changed();
  });
  const state = {
    note: data.note, points, drawThumbnail,
    shown: new Uint8Array(labels.length).fill(1), found: null,
    colour: Object.values(ways)[0], pictures: false, thumbnail: [...data.sheets.size].reverse(),
  };
  const decoding = decodings(data);
  const small = Math.max(...data.size.slice(1)) <= 64;
  const image = figure('image', [0, ...data.sheets.size], data.sheets.own && small);
  const again = figure('reconstruction', data.size, small);
  const here = figure('place, decoded', data.size, small);
  const pictures = el('div', {className: 'cv-pictures'}, image.whole);
  if (decoding.image) pictures.append(again.whole);
  if (decoding.place) pictures.append(here.whole);
  const facts = el('div', {className: 'cv-facts', aria: {live: 'polite'}});

  // The picture of an image is decoded when another comes under the pointer, that of the place
  // whenever it moves; where this takes long, only when the pointer rests
  let due = false;
  let last = -1;
  let waiting = null;
  let took = 0;
  function decodeBoth() {
    const start = performance.now();
    const {near, place} = state;
    if (decoding.image && last !== near) decoding.image(again, near);
    if (decoding.place) decoding.place(here, place, near);
    last = near;
    took = performance.now() - start;
  }
  function draw() {
    due = false;
    const {near} = state;
    if (near < 0) return;
    drawThumbnail(image.context, near, 0, 0, image.canvas.width, image.canvas.height);
    if (last !== near) {
      facts.replaceChildren(...about(data, near, {name: names[near], test, labels, numbers}));
    }
    clearTimeout(waiting);
    if (took < 60) decodeBoth();
    else waiting = setTimeout(decodeBoth, 90);
  }
  function changed() {
    if (due) return;
    due = true;
    requestAnimationFrame(draw);
  }

  const parts = ['train', 'test'];
  const filters = [
    data.names.length > 1
      && {of: labels, names: data.names, palette: data.colours, key: 'label'},
    ways['train or test'] && {of: test, names: parts, palette: ways['train or test'].palette,
      key: 'train or test'},
  ].filter(Boolean);
  function filter() {
    for (let i = 0; i < labels.length; i++) {
      state.shown[i] = Number(filters.every(({legend, of}) => legend.on[of[i]]));
    }
    plot.put(state.place);
    plot.redraw();
  }
  for (const one of filters) {
    const counts = countsOf(one.of, one.names.length);
    one.legend = legendOf(one.names, counts, one.palette, filter);
  }
  const ramp = el('div');
  const chooser = el('select', {}, ...Object.keys(ways).map(name => el('option', {}, name)));
  function colour() {
    state.colour = ways[chooser.value];
    ramp.replaceChildren(...(state.colour.ends ? [rampOf(state.colour)] : []));
    for (const {legend, key, palette} of filters) {
      legend.paint(key === chooser.value ? palette : null);
    }
    plot.redraw();
  }
  chooser.addEventListener('change', colour);
  const turnAll = value => filters[0].legend.turnAll(value);
  const button = (text, onclick) => el('button', {type: 'button', onclick}, text);
  const row = el('div', {className: 'cv-row'}, el('label', {}, 'Colour by ', chooser));
  if (filters.length && filters[0].key === 'label') {
    row.append(button('all', () => turnAll(true)), button('none', () => turnAll(false)));
  }
  const colours = el('div', {}, row, ramp, ...filters.map(one => one.legend.whole));

  const kind = kindButtons(pictureKind => {
    state.pictures = pictureKind;
    plot.redraw();
  });
  const search = searchField(names, data.files ? 'Search file names' : 'Search, as in: test 12', {
    onfind(found) {
      state.found = found;
      plot.redraw();
    },
    ongo: i => plot.goTo(i),
  });
  const n = labels.length.toLocaleString('en');
  const shown = data.total > labels.length
    ? `${n} of ${data.total.toLocaleString('en')} images` : `${n} images`;
  const hint = 'Wheel or pinch zooms, dragging moves, a click holds the place. '
    + 'Keys: arrows, + and \u2212, 0, Enter.';
  const bar = el('div', {className: 'cv-bar'}, el('h1', {}, data.title),
    el('span', {className: 'cv-soft'}, shown), search, kind.whole);
  const side = el('div', {className: 'cv-side'}, pictures, facts, colours,
    el('div', {className: 'cv-soft'}, hint));
  const main = el('div');
  const whole = el('div', {className: 'cv-atlas'}, bar, main, side);
  root.querySelectorAll('noscript, img, h1').forEach(element => element.remove());
  root.append(el('style', {textContent: atlasCss}), whole);
  const plot = atlasPlot(main, state, changed);
  main.replaceWith(...main.children);
  kind.turn(0);
  colour();
  plot.put([points[0], points[1]], 0);
  globalThis.convvae = {decode: decoding.decode, state, names, plot,
    get z() { return decoding.latentAt(state.place); }};
}

function dressAtlas(root) {                     // as the address and the surrounding page want it
  const theme = new URLSearchParams(location.search).get('theme');
  if (theme) document.documentElement.dataset.theme = theme;
  if (parent !== window) document.documentElement.classList.add('cv-embedded');
}

const atlasRoot = document.getElementById('convvae');
dressAtlas(atlasRoot);
atlasPage(atlasRoot, JSON.parse(document.getElementById('convvae-data').textContent));
