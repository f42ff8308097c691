// The part of convvae.explore that runs in a browser: a map of latent space (for `LatentMap` and for the page that
// `to_html` writes), a decoder in JavaScript, and that page. Python puts the page's data beside it; nothing is fetched.

const css = `
.cv-map, .cv-page { font: 14px/1.45 system-ui, sans-serif; }
.cv-map { width: 400px; max-width: 100%; box-sizing: border-box; padding: 3px; }
.cv-pad { position: relative; aspect-ratio: 1; touch-action: none; cursor: crosshair; border: 1px solid #8888; border-radius: 6px; overflow: hidden; }
.cv-pad:focus-visible { outline: 3px solid #3b82f6; outline-offset: 1px; }
.cv-pad canvas { position: absolute; inset: 0; width: 100%; height: 100%; }
.cv-dot { position: absolute; width: 18px; height: 18px; margin: -9px 0 0 -9px; border-radius: 50%; pointer-events: none;
  border: 3px solid #fff; outline: 2px solid #000; box-sizing: border-box; }
.cv-held .cv-dot { background: #e11d48; }
.cv-row { display: flex; flex-wrap: wrap; gap: 2px 12px; align-items: center; margin-top: 4px; }
.cv-row label { display: inline-flex; gap: 5px; align-items: center; }
.cv-key { display: inline-flex; align-items: center; gap: 4px; }
.cv-key i { width: 10px; height: 10px; border-radius: 50%; }
.cv-hint { opacity: .75; font-size: 12.5px; }
`;

const el = (tag, props = {}, ...children) => {
  const {style, aria, ...rest} = props, e = Object.assign(document.createElement(tag), rest);
  if (style) e.style.cssText = style;
  for (const k in aria || {}) e.setAttribute(k == 'role' ? k : 'aria-' + k, aria[k]);
  e.append(...children);
  return e;
};
const clamp = (v, lo, hi) => Math.min(hi, Math.max(lo, v));
const bytes = v => v instanceof DataView ? new Uint8Array(v.buffer, v.byteOffset, v.byteLength)  // from Python, or base64
  : Uint8Array.from(atob(v), c => c.charCodeAt(0));
const floats = v => new Float32Array(bytes(v).slice().buffer);

// ---- the map -------------------------------------------------------------------------------------------------------
// view: points (float32 u, v in turn), labels (a byte each, or null), names and colours of the labels, half (the map goes
// from -half to half), axes (two names), tiles (a JPEG of decoded images, or null). onmove gets [u, v].
function latentMap(root, onmove) {
  const canvas = el('canvas'), dot = el('div', {className: 'cv-dot'});
  const pad = el('div', {className: 'cv-pad', tabIndex: 0, aria: {role: 'slider', label: 'Map of latent space: arrow keys move the pointer',
    valuemin: -1, valuemax: 1, valuenow: 0}}, canvas, dot);
  const box = (text, checked) => { const b = el('input', {type: 'checkbox', checked}); return [b, el('label', {}, b, text)]; };
  const [showPoints, pointsLabel] = box('points', true), [showTiles, tilesLabel] = box('decoded images', true);
  const says = el('div', {className: 'cv-row', aria: {live: 'off'}}), key = el('div', {className: 'cv-row'});
  root.append(el('style', {textContent: css}), el('div', {className: 'cv-map'}, pad, says, key,
    el('div', {className: 'cv-row'}, pointsLabel, tilesLabel),
    el('div', {className: 'cv-hint'}, 'Move over the map, or use the arrow keys. A click holds the place, the next one lets go.')));
  let view, points, labels, picture, at = [0, 0], held = false;

  function draw() {
    const n = Math.max(300, Math.round(pad.clientWidth * (window.devicePixelRatio || 1))), g = canvas.getContext('2d');
    canvas.width = canvas.height = n;
    if (picture && showTiles.checked) {
      g.fillStyle = '#000';
      g.fillRect(0, 0, n, n);
      g.globalAlpha = showPoints.checked && points.length ? .45 : 1;
      g.drawImage(picture, 0, 0, n, n);
    }
    if (!showPoints.checked) return;
    g.globalAlpha = .9;
    const r = n / 400 * (points.length > 1200 ? 2 : 3);
    for (let i = 0; i < points.length / 2; i++) {
      g.fillStyle = labels ? view.colours[labels[i]] : '#3b82f6';
      g.beginPath();
      g.arc((points[2*i] / view.half + 1) / 2 * n, (1 - points[2*i + 1] / view.half) / 2 * n, r, 0, 7);
      g.fill();
    }
  }
  function nearest() {
    let best = Infinity, who = -1;
    for (let i = 0; i < points.length / 2; i++) {
      const d = (points[2*i] - at[0])**2 + (points[2*i + 1] - at[1])**2;
      if (d < best) { best = d; who = i; }
    }
    return who;
  }
  function put(next) {
    at = next.map(v => clamp(v, -view.half, view.half));
    dot.style.left = (at[0] / view.half + 1) * 50 + '%';
    dot.style.top = (1 - at[1] / view.half) * 50 + '%';
    let text = `${view.axes[0]} = ${at[0].toFixed(2)}, ${view.axes[1]} = ${at[1].toFixed(2)}`;
    const who = labels ? nearest() : -1;
    if (who >= 0) text += `, nearest point: ${view.names[labels[who]]}`;
    says.textContent = text;
    pad.setAttribute('aria-valuenow', (at[0] / view.half).toFixed(2));
    pad.setAttribute('aria-valuetext', text);
  }
  const move = next => { put(next); onmove(at); };
  const follow = e => {
    const b = pad.getBoundingClientRect();
    move([((e.clientX - b.left) / b.width * 2 - 1) * view.half, (1 - (e.clientY - b.top) / b.height * 2) * view.half]);
  };
  pad.addEventListener('pointermove', e => { if (!held) follow(e); });
  pad.addEventListener('pointerdown', e => {
    pad.focus({preventScroll: true});
    if (e.pointerType == 'mouse') pad.classList.toggle('cv-held', held = !held);
    follow(e);
  });
  pad.addEventListener('keydown', e => {
    const d = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1]}[e.key];
    if (!d) return;
    e.preventDefault(); e.stopPropagation();  // notebooks have shortcuts of their own
    const step = view.half / (e.shiftKey ? 8 : 40);
    move([at[0] + d[0]*step, at[1] + d[1]*step]);
  });
  for (const b of [showPoints, showTiles]) b.addEventListener('change', draw);
  new ResizeObserver(() => view && draw()).observe(pad);

  return {put, show(next, where) {
    view = next; points = floats(view.points); labels = view.labels && bytes(view.labels); picture = null;
    key.replaceChildren(...(labels ? view.names.map((name, i) =>
      el('span', {className: 'cv-key'}, el('i', {style: `background:${view.colours[i]}`}), name)) : []));
    tilesLabel.hidden = !view.tiles;
    if (view.tiles) {
      const img = new Image(), mine = view;
      img.onload = () => { if (view === mine) { picture = img; draw(); } };
      img.src = URL.createObjectURL(new Blob([bytes(view.tiles)], {type: 'image/jpeg'}));
    }
    put(where); draw();
  }};
}

// ---- the widget: anywidget calls this --------------------------------------------------------------------------------
// ipywidgets lets one message of a widget be under way and keeps only the newest of those that wait: no queue of old frames
function render({model, el: root}) {
  const map = latentMap(root, at => { model.set('at', at); model.save_changes(); });
  const show = () => map.show(model.get('view'), model.get('at'));
  model.on('change:view', show);
  show();
}

// ---- a decoder in the page -------------------------------------------------------------------------------------------
// A program is a list of [operation, arguments, shape of the result]; {v: i} among the arguments is a value: weights, then
// the latents, then the results in turn. The operations are torch's, for one image, in plain loops over Float32Array.
const count = shape => shape.reduce((a, b) => a*b, 1);
const tensor = (s, d) => ({s, d: d || new Float32Array(count(s))});

function reader(x, shape) {                     // the element of x that broadcasts to place i of a tensor of this shape
  if (typeof x == 'number') return () => x;
  if (x.d.length == count(shape)) return i => x.d[i];
  if (x.d.length == 1) return () => x.d[0];
  const lead = shape.length - x.s.length, at = new Int32Array(count(shape));
  for (let i = 0; i < at.length; i++)
    for (let k = shape.length - 1, rest = i, step = 1; k >= lead; k--) {
      if (x.s[k - lead] > 1) at[i] += rest % shape[k] * step;
      step *= x.s[k - lead]; rest = Math.floor(rest / shape[k]);
    }
  return i => x.d[at[i]];
}
const each = f => (s, ...xs) => {               // f for every element
  const out = tensor(s), d = out.d, [a, b, c] = xs.map(x => reader(x, s));
  if (c) for (let i = 0; i < d.length; i++) d[i] = f(a(i), b(i), c(i));
  else if (b) for (let i = 0; i < d.length; i++) d[i] = f(a(i), b(i));
  else for (let i = 0, x = xs[0].d; i < d.length; i++) d[i] = f(x[i]);
  return out;
};
const same = (s, x) => tensor(s, x.d);          // other shape, same numbers
const sigmoid = a => 1 / (1 + Math.exp(-a));
function part(x, dim, start, s) {               // s[dim] places of x along dim, from start
  const d = dim < 0 ? dim + s.length : dim, inner = count(s.slice(d + 1)), outer = count(s.slice(0, d)), out = tensor(s);
  for (let o = 0; o < outer; o++) {
    const from = (o*x.s[d] + start)*inner;
    out.d.set(x.d.subarray(from, from + s[d]*inner), o*s[d]*inner);
  }
  return out;
}
function padded(x, p) {                         // (1,C,H,W) with p zeros all round
  if (!p) return x;
  const [, C, H, W] = x.s, out = tensor([1, C, H + 2*p, W + 2*p]);
  for (let c = 0; c < C; c++) for (let y = 0; y < H; y++)
    out.d.set(x.d.subarray((c*H + y)*W, (c*H + y + 1)*W), ((c*(H + 2*p)) + y + p)*(W + 2*p) + p);
  return out;
}
const ops = {
  linear(s, x, w, b) {
    const out = tensor(s), [O, I] = w.s;
    for (let o = 0; o < O; o++) {
      let sum = b ? b.d[o] : 0;
      for (let i = 0; i < I; i++) sum += w.d[o*I + i]*x.d[i];
      out.d[o] = sum;
    }
    return out;
  },
  conv2d(s, x, w, b, [stride] = [1], [pad] = [0]) {
    const [O, I, K, L] = w.s, [, , H, W] = s, from = padded(x, pad), [, , , V] = from.s, plane = from.s[2]*V, out = tensor(s);
    for (let o = 0; o < O; o++) {
      out.d.fill(b ? b.d[o] : 0, o*H*W, (o + 1)*H*W);
      for (let i = 0; i < I; i++) for (let k = 0; k < K; k++) for (let l = 0; l < L; l++) {
        const v = w.d[((o*I + i)*K + k)*L + l];
        for (let y = 0; y < H; y++)
          for (let c = 0, to = (o*H + y)*W, at = i*plane + (y*stride + k)*V + l; c < W; c++) out.d[to + c] += v*from.d[at + c*stride];
      }
    }
    return out;
  },
  conv_transpose2d(s, x, w, b, [stride] = [1], [pad] = [0]) {
    const [I, O, K, L] = w.s, [, , H, W] = x.s, wide = s[3] + 2*pad, plane = (s[2] + 2*pad)*wide, big = new Float32Array(O*plane);
    for (let i = 0; i < I; i++) for (let y = 0; y < H; y++) for (let c = 0; c < W; c++) {
      const v = x.d[(i*H + y)*W + c];
      for (let o = 0, at = i*O*K*L, base = y*stride*wide + c*stride; o < O; o++, base += plane)
        for (let k = 0, row = base; k < K; k++, row += wide) for (let l = 0; l < L; l++) big[row + l] += v*w.d[at++];
    }
    const out = tensor(s);
    for (let o = 0, to = 0; o < O; o++) for (let y = 0; y < s[2]; y++) for (let c = 0; c < s[3]; c++)
      out.d[to++] = big[o*plane + (y + pad)*wide + c + pad] + (b ? b.d[o] : 0);
    return out;
  },
  pixel_shuffle(s, x, r) {                      // r*r channels laid out as a patch of r x r
    const out = tensor(s), [, C, H, W] = s, h = H / r, w = W / r;
    for (let c = 0, to = 0; c < C; c++) for (let y = 0; y < H; y++) for (let i = 0; i < W; i++)
      out.d[to++] = x.d[((c*r*r + y % r*r + i % r)*h + Math.floor(y / r))*w + Math.floor(i / r)];
    return out;
  },
  group_norm(s, x, groups, w, b, eps = 1e-5) {
    const out = tensor(s), n = x.d.length / groups, area = count(s.slice(2));
    for (let g = 0; g < groups; g++) {
      let sum = 0, squares = 0;
      for (let i = g*n; i < (g + 1)*n; i++) sum += x.d[i];
      for (let i = g*n; i < (g + 1)*n; i++) squares += (x.d[i] - sum/n)**2;
      const scale = 1 / Math.sqrt(squares/n + eps);
      for (let i = g*n; i < (g + 1)*n; i++) {
        const c = Math.floor(i / area);
        out.d[i] = (x.d[i] - sum/n)*scale*(w ? w.d[c] : 1) + (b ? b.d[c] : 0);
      }
    }
    return out;
  },
  cat(s, xs) {                                  // only along the last axis of (1,n)
    const out = tensor(s);
    let at = 0;
    for (const x of xs) { out.d.set(x.d, at); at += x.d.length; }
    return out;
  },
  slice: (s, x, dim = 0, start = 0) => part(x, dim, start || 0, s),
  chunk: (shapes, x, n, dim = 0) => { let at = 0; return shapes.map(s => { const p = part(x, dim, at, s); at += s.at(dim); return p; }); },
  getitem: (s, xs, i) => xs[i],
  broadcast_tensors: (shapes, xs) => shapes.map((s, i) => ops.expand(s, xs[i])),
  expand: (s, x) => each((a, _) => a)(s, x, 0), ones_like: each(() => 1),
  flatten: same, unflatten: same, view: same, reshape: same, alias: same, to: same,
  relu: each(a => a > 0 ? a : 0), silu: each(a => a*sigmoid(a)), sigmoid: each(sigmoid), tanh: each(Math.tanh),
  softplus: each(a => a > 20 ? a : Math.log1p(Math.exp(a))), exp: each(Math.exp), log: each(Math.log), log1p: each(Math.log1p),
  neg: each(a => -a), reciprocal: each(a => 1/a), sqrt: each(Math.sqrt), pow: each(Math.pow),
  add: each((a, b) => a + b), sub: each((a, b) => a - b), mul: each((a, b) => a*b), div: each((a, b) => a/b),
  gt: each((a, b) => a > b), le: each((a, b) => a <= b), max: each(Math.max), clamp: each(clamp), where: each((a, b, c) => a ? b : c),
};
function halves(raw) {                          // float16 to float32
  const h = new Uint16Array(raw.buffer), out = new Float32Array(h.length);
  for (let i = 0; i < h.length; i++) {
    const e = h[i] >> 10 & 31, m = h[i] & 1023;
    out[i] = (h[i] >> 15 ? -1 : 1) * (e ? 2**(e - 15)*(1 + m/1024) : 2**-14*(m/1024));
  }
  return out;
}
function decoder({weights, shapes, steps}) {
  const all = halves(bytes(weights));
  let at = 0;
  const held = shapes.map(s => tensor(s, all.subarray(at, at += count(s))));
  return inputs => {                            // lists of numbers: the latents, and the label as 0s and 1s
    const values = [...held, ...inputs.map(v => tensor([1, v.length], Float32Array.from(v)))];
    const get = a => Array.isArray(a) ? a.map(get) : a && a.v !== undefined ? values[a.v] : a === null ? undefined : a;
    for (const [op, args, s] of steps) values.push(ops[op](s, ...args.map(get)));
    return values.at(-1).d;
  };
}

// ---- the page that to_html writes --------------------------------------------------------------------------------------
const pageCss = `
.cv-page { display: flex; flex-wrap: wrap; gap: 12px 28px; justify-content: center; }
.cv-page > * { max-width: 100%; }
.cv-page .cv-panel { width: 400px; max-width: 100%; box-sizing: border-box; padding: 3px; }
.cv-top { display: flex; gap: 16px; align-items: center; }
.cv-picture { width: 200px; max-width: 55%; image-rendering: pixelated; border-radius: 6px; border: 1px solid #8888; }
.cv-buttons { display: flex; flex-direction: column; gap: 8px; align-items: stretch; }
.cv-buttons button, .cv-buttons select { font: inherit; padding: 4px 12px; min-height: 34px; }
.cv-sliders { margin-top: 10px; display: grid; grid-template-columns: max-content 1fr 3em; gap: 3px 10px; align-items: center; }
.cv-sliders input { width: 100%; min-width: 0; height: 22px; margin: 0; accent-color: #3b82f6; }
.cv-sliders output { text-align: right; font-variant-numeric: tabular-nums; }
`;
function page(root, data) {
  const [C, H, W] = data.size, decode = data.program && decoder(data.program), {plane} = data;
  const canvas = el('canvas', {className: 'cv-picture', width: W, height: H, aria: {role: 'img', label: 'The decoded image'}});
  const context = canvas.getContext('2d'), frame = context.createImageData(W, H), dot = (a, b) => a.reduce((t, v, i) => t + v*b[i], 0);
  let z = [...data.start], label = 0, moved = -1, due = false, map;
  const spot = () => [plane.across, plane.up].map(d => dot(z.map((v, i) => v - plane.centre[i]), d));
  const clear = () => root.querySelectorAll('noscript, img').forEach(e => e.remove());

  function draw() {                             // at most once for each frame that the screen shows
    due = false;
    if (decode) {
      const started = performance.now();
      const x = decode(data.classes ? [z, data.classes.map((_, i) => +(i == label))] : [z]);
      for (let i = 0, n = H*W; i < n; i++) {
        for (let c = 0; c < 3; c++) frame.data[4*i + c] = 255*x[C == 3 ? c*n + i : i] + .5;
        frame.data[4*i + 3] = 255;
      }
      context.putImageData(frame, 0, 0);
      globalThis.convvae.ms = performance.now() - started;
    } else {                                    // from tiles: of the slider that moved last, or of the map
      const sheet = moved < 0 ? data.sheets[label] : data.strips[label];
      const n = data.grid, k = data.steps, place = spot();
      const [column, row] = moved < 0 ? [clamp(Math.floor((place[0]/plane.half + 1)/2*n), 0, n - 1), clamp(Math.floor((1 - place[1]/plane.half)/2*n), 0, n - 1)]
        : [clamp(Math.round((z[data.sliders[moved].latent]/data.span + 1)/2*(k - 1)), 0, k - 1), moved];
      sheet.decode().then(() => context.drawImage(sheet, column*W, row*H, W, H, 0, 0, W, H));
    }
    rows.forEach(([input, value], i) => { input.value = z[data.sliders[i].latent]; value.textContent = z[data.sliders[i].latent].toFixed(1); });
  }
  const redraw = () => { if (!due) { due = true; requestAnimationFrame(draw); } };
  const jump = next => { z = [...next]; moved = plane ? -1 : 0; if (plane) map.put(spot()); redraw(); };
  const rows = data.sliders.map((s, i) => {
    const input = el('input', {type: 'range', min: -data.span, max: data.span, step: 'any', id: 'cv-z' + s.latent});
    input.addEventListener('input', () => {
      if (!decode) z = [...data.start];         // a strip has one latent moved, the others at the start
      z[s.latent] = +input.value; moved = i;
      if (plane) map.put(spot());
      redraw();
    });
    return [input, el('output'), el('label', {htmlFor: input.id}, s.name)];
  });
  const random = el('button', {type: 'button', onclick: () => jump(data.draws[Math.floor(Math.random()*data.draws.length)])}, 'Random');
  const reset = el('button', {type: 'button', onclick: () => jump(data.start)}, 'Reset');
  const buttons = el('div', {className: 'cv-buttons'}, decode ? random : '', reset);
  const show = () => map.show({...plane, tiles: plane.tiles[label]}, spot());
  if (data.classes) {
    const select = el('select', {onchange: () => { label = select.selectedIndex; if (plane) show(); redraw(); }},
      ...data.classes.map(c => el('option', {}, c)));
    buttons.append(el('label', {}, 'Label ', select));
  }
  const left = el('div'), right = el('div', {className: 'cv-panel'}, el('div', {className: 'cv-top'}, canvas, buttons),
    el('div', {className: 'cv-sliders'}, ...rows.flatMap(([input, value, name]) => [name, input, value])));
  clear();
  root.append(el('style', {textContent: css + pageCss}), el('div', {className: 'cv-page'}, plane ? left : '', right));
  if (!decode) for (const k of ['sheets', 'strips']) data[k] = (k == 'sheets' ? plane ? plane.tiles : [] : data.strips)
    .map(t => Object.assign(new Image(), {src: 'data:image/jpeg;base64,' + t}));
  if (plane) {
    map = latentMap(left, at => {
      const old = spot();
      z = z.map((v, i) => v + (at[0] - old[0])*plane.across[i] + (at[1] - old[1])*plane.up[i]);
      moved = -1;
      redraw();
    });
    show();
  }
  globalThis.convvae = {decode, draw, get z() { return z; }};
  jump(data.start);
  const theme = new URLSearchParams(location.search).get('theme');
  if (theme) document.documentElement.dataset.theme = theme;
  if (parent !== window) new ResizeObserver(() => parent.postMessage({convvae: root.offsetHeight}, '*')).observe(root);
}
const data = document.getElementById('convvae-data');
if (data) page(document.getElementById('convvae'), JSON.parse(data.textContent));

export default {render};
