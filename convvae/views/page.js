// The page that `to_html` writes: a map, a picture and sliders, three views of the same latents

const pageCss = `
.cv-page { display: flex; flex-wrap: wrap; gap: 12px 28px; justify-content: center; }
.cv-page > * { max-width: 100%; }
.cv-page .cv-panel { width: 400px; max-width: 100%; box-sizing: border-box; padding: 3px; }
.cv-top { display: flex; gap: 16px; align-items: center; }
.cv-picture { width: 200px; max-width: 55%; image-rendering: pixelated; border-radius: 6px;
  border: 1px solid #8888; }
.cv-buttons { display: flex; flex-direction: column; gap: 8px; align-items: stretch; }
.cv-buttons button, .cv-buttons select { font: inherit; padding: 4px 12px; min-height: 34px; }
.cv-sliders { margin-top: 10px; display: grid; grid-template-columns: max-content 1fr 3em;
  gap: 3px 10px; align-items: center; }
.cv-sliders input { width: 100%; min-width: 0; height: 22px; margin: 0; accent-color: #3b82f6; }
.cv-page :is(button, select, input):focus-visible { outline: 3px solid #3b82f6;
  outline-offset: 1px; }
.cv-words { justify-content: flex-start; }
.cv-words .cv-panel { flex: 1 1 300px; width: auto; max-width: 640px; }
.cv-words .cv-map { width: 330px; }
.cv-words .cv-map > .cv-row:nth-child(2) { display: none; }
@media (max-width: 620px) {
  .cv-words { flex-direction: column; align-items: center; }
  .cv-words .cv-panel { display: contents; }
  .cv-words .cv-setter { order: -1; width: 100%; }
  .cv-words .cv-map { width: 300px; }
  .cv-words .cv-sliders { width: 100%; }
}
@media print {                                  /* nothing to press; map and image side by side */
  :root, :root[data-theme] { color-scheme: light; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  button, select, .cv-hint, .cv-row:has(input) { display: none !important; }
  .cv-words canvas { filter: brightness(0); }   /* ink that was white in the dark */
  .cv-page { flex-wrap: nowrap; }
  .cv-page > :first-child { flex: 0 0 320px; }
  .cv-page .cv-map { width: 320px; }
  .cv-page .cv-panel { flex: 0 1 300px; min-width: 0; }
}
.cv-sliders output { text-align: right; font-variant-numeric: tabular-nums; }
`;

// Where latents lie on the map, and the latents that lie at another place of it
function placeOf(plane, z) {
  const along = direction => direction.reduce((sum, d, i) => sum + d*(z[i] - plane.centre[i]), 0);
  return [along(plane.across), along(plane.up)];
}
function movedTo(plane, z, [u, v]) {
  const [left, below] = placeOf(plane, z);
  return z.map((value, i) => value + (u - left)*plane.across[i] + (v - below)*plane.up[i]);
}

// The decoded image: from the decoder's values, or cut out of a sheet of tiles
function pictureOf([channels, height, width]) {
  const aria = {role: 'img', label: 'The decoded image'};
  const canvas = el('canvas', {className: 'cv-picture', width, height, aria});
  const context = canvas.getContext('2d');
  const frame = context.createImageData(width, height);
  const area = height*width;
  function show(values) {
    for (let i = 0; i < area; i++) {
      for (let c = 0; c < 3; c++) frame.data[4*i + c] = 255*values[channels === 3 ? c*area + i : i];
      frame.data[4*i + 3] = 255;
    }
    context.putImageData(frame, 0, 0);
  }
  async function cut(sheet, column, row) {
    await sheet.decode();
    context.drawImage(sheet, column*width, row*height, width, height, 0, 0, width, height);
  }
  return {canvas, show, cut};
}

// Without a decoder: the tile at a place of the map, or of a slider, whose latent moves alone
function sheetOf(base64) {
  return Object.assign(new Image(), {src: `data:image/jpeg;base64,${base64}`});
}
function nthOf(share, n) {                      // which of n equal parts
  return clamp(Math.floor(share*n), 0, n - 1);
}
function mapTile({plane, grid}, z) {
  return toShares(placeOf(plane, z), plane.half).map(share => nthOf(share, grid));
}
function sliderTile({sliders, span, stripLength}, z, row) {
  const share = (z[sliders[row].latent]/span + 1)/2;
  return [clamp(Math.round(share*(stripLength - 1)), 0, stripLength - 1), row];
}
function tilePainter(data, picture) {
  const maps = data.plane ? data.plane.tiles.map(sheetOf) : [];
  const strips = data.strips.map(sheetOf);
  return ({z, label, slider}) => {
    if (slider === null) picture.cut(maps[label], ...mapTile(data, z));
    else picture.cut(strips[label], ...sliderTile(data, z, slider));
  };
}

function decoderPainter(data, picture, decode) {
  return ({z, label}) => {
    const oneHot = (data.classes || []).map((_, i) => Number(i === label));
    picture.show(decode([...z, ...oneHot]));
  };
}

function sliderRow({latent, name}, span, onmove) {
  const id = `cv-z${latent}`;
  const input = el('input', {type: 'range', min: -span, max: span, step: 'any', id});
  const output = el('output');
  input.addEventListener('input', () => onmove(Number(input.value)));
  function put(value) {
    input.value = value;
    output.textContent = fixed(value, 1);
  }
  return {parts: [el('label', {htmlFor: id}, name), input, output], put};
}

function page(root, data) {
  const {plane, sliders, start, draws, classes} = data;
  const decode = data.program && decoder(data.program);
  const setter = decode && plane && data.word ? wordSetter(data, decode, retype) : null;
  const picture = pictureOf(data.size);
  const paint = setter ? ({z}) => setter.show(z)
    : decode ? decoderPainter(data, picture, decode) : tilePainter(data, picture);
  const state = {z: [...start], label: 0, slider: null};  // the one that moved last; null: the map
  const left = el('div');
  let due = false;

  function draw() {                             // at most once for each frame that the screen shows
    due = false;
    paint(state);
    rows.forEach((row, i) => row.put(state.z[sliders[i].latent]));
  }
  function change(next) {
    Object.assign(state, next);
    if (due) return;
    due = true;
    requestAnimationFrame(draw);
  }
  function changeAll(next) {                    // and the map's pointer with it
    change(next);
    if (plane) map.put(placeOf(plane, state.z));
  }
  function moveSlider(i, value) {
    const z = decode ? [...state.z] : [...start];  // a strip has the other latents at the start
    z[sliders[i].latent] = value;
    changeAll({z, slider: i});
  }
  function retype() {                           // the word; the map shows its first letter
    change({});
    letters.draw(setter.first());
  }
  const jump = z => changeAll({z: [...z], slider: plane ? null : 0});
  const rows = sliders.map((s, i) => sliderRow(s, data.span, value => moveSlider(i, value)));

  function showMap() {
    const tiles = setter ? null : plane.tiles[state.label];
    map.show({...plane, tiles, ink: Boolean(setter)}, placeOf(plane, state.z));
  }
  function chooser() {                          // of the label
    const options = classes.map(name => el('option', {}, name));
    const select = el('select', {}, ...options);
    select.addEventListener('change', () => {
      change({label: select.selectedIndex});
      if (plane) showMap();
    });
    return el('label', {}, 'Label ', select);
  }
  function button(text, onclick) {
    return el('button', {type: 'button', onclick}, text);
  }
  const random = () => jump(draws[Math.floor(Math.random()*draws.length)]);
  const buttons = el('div', {className: 'cv-buttons'});
  if (decode) buttons.append(button('Random', random));
  if (!setter) buttons.append(button('Reset', () => jump(start)));
  if (classes && !setter) buttons.append(chooser());
  if (setter) setter.type.append(...buttons.children);
  const top = setter ? setter.whole : el('div', {className: 'cv-top'}, picture.canvas, buttons);
  const right = el('div', {className: 'cv-panel'}, top,
    el('div', {className: 'cv-sliders'}, ...rows.flatMap(row => row.parts)));
  root.querySelectorAll('noscript, img').forEach(element => element.remove());
  root.append(el('style', {textContent: mapCss + pageCss + wordCss}),
    el('div', {className: `cv-page${setter ? ' cv-words' : ''}`}, plane ? left : '', right));
  const onmove = at => change({z: movedTo(plane, state.z, at), slider: null});
  const map = plane && latentMap(left, onmove);
  if (plane) showMap();
  const letters = setter && styleTiles(data, decode, map.pad, map.paint);
  if (setter) letters.draw(setter.first());
  jump(start);
  globalThis.convvae = {decode, get z() { return state.z; }};
}

function dress(root) {                          // as the address and the surrounding page want it
  const theme = new URLSearchParams(location.search).get('theme');
  if (theme) document.documentElement.dataset.theme = theme;
  if (parent === window) return;
  document.documentElement.classList.add('cv-embedded');
  root.setAttribute('role', 'group');           // the page around it has a main of its own
  const tell = () => parent.postMessage({convvae: root.offsetHeight}, '*');
  new ResizeObserver(tell).observe(root);
}

const main = document.getElementById('convvae');
page(main, JSON.parse(document.getElementById('convvae-data').textContent));
dress(main);
