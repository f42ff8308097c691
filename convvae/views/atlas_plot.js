// The plane of the atlas on a canvas: points or pictures, panned and zoomed with mouse, fingers and
// keys. It knows where images lie and which of them are shown, and tells the page where the pointer
// is. A view is the place in the middle, the pixels of a unit, and the size of the canvas.

function toPixels({x, y, scale, width, height}, [u, v]) {
  return [width/2 + (u - x)*scale, height/2 - (v - y)*scale];
}
function toPlace({x, y, scale, width, height}, [left, top]) {
  return [x + (left - width/2)/scale, y - (top - height/2)/scale];
}

function boxOf(points) {                        // the middle and the size of what the points fill
  const low = [Infinity, Infinity];
  const high = [-Infinity, -Infinity];
  points.forEach((value, i) => {
    low[i%2] = Math.min(low[i%2], value);
    high[i%2] = Math.max(high[i%2], value);
  });
  const [x, y] = low.map((value, i) => (value + high[i])/2);
  const [width, height] = low.map((value, i) => Math.max(high[i] - value, 1e-3));
  return {x, y, width, height};
}

const noteHeight = view => view.width < 500 ? 40 : 22;

function wholeScale(view, box) {                // at which all points are seen, above the note
  const margin = Math.min(28, view.width/12);
  const height = view.height - 2*margin - noteHeight(view);
  return Math.min((view.width - 2*margin)/box.width, height/box.height);
}

function zoomed(view, factor, at, whole) {      // the place at these pixels stays where it is
  const scale = clamp(view.scale*factor, whole/2, whole*300);
  const [u, v] = toPlace(view, at);
  const {width, height} = view;
  return {...view, scale, x: u - (at[0] - width/2)/scale, y: v + (at[1] - height/2)/scale};
}

// Which points are drawn strongly: those that are found, where somebody searches
const isStrong = ({shown, found}, i) => shown[i] && (!found || found[i]);

function nearestShown({points, shown}, [u, v]) { // the number of the nearest point; -1: none
  let best = -1;
  let least = Infinity;
  for (let i = 0; i < shown.length; i++) {
    if (!shown[i]) continue;
    const distance = (points[2*i] - u)**2 + (points[2*i + 1] - v)**2;
    if (distance < least) {
      least = distance;
      best = i;
    }
  }
  return best;
}

function isSeen({width, height}, left, top, margin) {
  return left > -margin && top > -margin && left < width + margin && top < height + margin;
}

// Dots of one colour are one path, so that ten thousand are drawn between two frames; they are
// drawn in rounds, so that no colour lies on top of all others
const rounds = 6;
function drawDots(context, view, state, {radius, alpha, wanted, ring}) {
  const {points, colour} = state;
  context.globalAlpha = alpha;
  for (let round = 0; round < rounds; round++) {
    const paths = new Map();
    for (let i = round; i < colour.of.length; i += rounds) {
      if (!wanted(i)) continue;
      const [left, top] = toPixels(view, points.subarray(2*i, 2*i + 2));
      if (!isSeen(view, left, top, 9)) continue;
      if (!paths.has(colour.of[i])) paths.set(colour.of[i], new Path2D());
      const path = paths.get(colour.of[i]);
      path.moveTo(left + radius, top);
      path.arc(left, top, radius, 0, 7);
    }
    for (const [i, path] of paths) {
      context.fillStyle = colour.palette[i];
      context.fill(path);
      if (ring) context.stroke(path);
    }
  }
  context.globalAlpha = 1;
}

// As many images as hardly cover each other, in an order that is mixed and always the same
function apart(view, state, [width, height]) {
  const {points, order} = state;
  const cells = new Map();                      // at most one image in each has its middle there
  const key = (column, row) => column*100003 + row;
  for (const i of order) {
    if (!isStrong(state, i)) continue;
    const [left, top] = toPixels(view, points.subarray(2*i, 2*i + 2));
    if (!isSeen(view, left, top, 2*width)) continue;
    const [column, row] = [Math.floor(left/width), Math.floor(top/height)];
    let free = true;
    for (let near = 0; free && near < 9; near++) {
      const other = cells.get(key(column + near%3 - 1, row + Math.floor(near/3) - 1));
      free = !other || Math.abs(other.left - left) >= width || Math.abs(other.top - top) >= height;
    }
    if (free) cells.set(key(column, row), {i, left, top});
  }
  return [...cells.values()];
}

function mixedOrder(n) {                        // steps of the golden section go everywhere evenly
  const ranks = Float64Array.from({length: n}, (_, i) => i*.6180339887498949%1);
  return [...ranks.keys()].sort((a, b) => ranks[a] - ranks[b]);
}

function pictureSide(view, state, box) {        // on the screen: larger where there is room
  const spacing = view.scale*Math.sqrt(box.width*box.height/state.shown.length);
  return clamp(1.3*spacing, view.width < 500 ? 26 : 34, 84);
}

function drawPictures(context, view, state, box) {
  const side = pictureSide(view, state, box);
  const {colour, drawThumbnail} = state;
  const size = state.thumbnail.map(length => side*length/Math.max(...state.thumbnail));
  const [width, height] = size;
  const chosen = apart(view, state, size.map(length => .94*length + 4));
  for (const one of chosen) {
    one.size = size;
    one.corner = [Math.round(one.left - width/2), Math.round(one.top - height/2)];
    context.fillStyle = colour.palette[colour.of[one.i]];
    context.fillRect(one.corner[0] - 2, one.corner[1] - 2, width + 4, height + 4);
    drawThumbnail(context, one.i, ...one.corner, width, height);
  }
  return chosen;
}

function drawPlane(context, view, state, box) { // gives the pictures that were drawn
  const n = state.shown.length;
  const closer = clamp((view.scale/wholeScale(view, box))**.4, 1, 2.5);
  const radius = closer*clamp(.11*Math.sqrt(view.width*view.height/n), 1.7, 4.5);
  const strong = i => isStrong(state, i);
  const weak = i => state.shown[i] && !strong(i);
  context.clearRect(0, 0, view.width, view.height);
  if (state.found) drawDots(context, view, state, {radius, alpha: .13, wanted: weak});
  if (state.pictures) {
    drawDots(context, view, state, {radius: .7*radius, alpha: .45, wanted: strong});
    return drawPictures(context, view, state, box);
  }
  context.strokeStyle = getComputedStyle(context.canvas).color;
  context.lineWidth = 1;
  const found = state.found && state.found.some(v => v);
  drawDots(context, view, state, {
    radius: found ? 1.5*radius + 1 : radius, alpha: found ? 1 : .75, wanted: strong, ring: found,
  });
  return [];
}

// The pointer's place, and a line to the image that lies nearest
function drawPointer(context, view, {points, place, near, held}) {
  context.clearRect(0, 0, view.width, view.height);
  if (!place) return;
  const [left, top] = toPixels(view, place);
  const ink = getComputedStyle(context.canvas);
  const circle = (x, y, radius, width, style) => {
    context.beginPath();
    context.arc(x, y, radius, 0, 7);
    context.lineWidth = width;
    context.strokeStyle = style;
    context.stroke();
  };
  if (near >= 0) {
    const at = toPixels(view, points.subarray(2*near, 2*near + 2));
    context.beginPath();
    context.moveTo(left, top);
    context.lineTo(...at);
    context.lineWidth = 1.5;
    context.strokeStyle = ink.color;
    context.stroke();
    circle(...at, 9, 5, ink.backgroundColor);
    circle(...at, 9, 2.5, ink.color);
  }
  circle(left, top, 4, 5, ink.backgroundColor);
  circle(left, top, 4, 3, held ? '#e11d48' : ink.color);
}

function planeElements(note) {
  const canvas = el('canvas');
  const aria = {
    role: 'application',
    label: 'Plane of images: arrow keys move the pointer, plus and minus zoom, 0 shows the whole '
      + 'plane, Enter holds the place',
  };
  const pointer = el('canvas', {className: 'cv-pointer', tabIndex: 0, aria});
  const button = (text, label) => el('button', {type: 'button', title: label, aria: {label}}, text);
  const buttons = [
    button('+', 'Zoom in'), button('\u2212', 'Zoom out'), button('fit', 'Whole plane'),
  ];
  const whole = el('div', {className: 'cv-plane'}, canvas, pointer,
    el('div', {className: 'cv-zoom'}, ...buttons), el('div', {className: 'cv-note'}, note));
  return {canvas, pointer, buttons, whole};
}

// Mouse and fingers: one pans, two zoom, what does not move is a click
function followPointers(element, {view, move, zoom, hover, click}) {
  const down = new Map();
  let moved = false;
  const at = event => {
    const box = element.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  function press(event) {
    if (event.button) return;
    element.setPointerCapture(event.pointerId);
    down.set(event.pointerId, at(event));
    if (down.size === 1) moved = false;
  }
  function drag(event) {
    const now = at(event);
    const before = down.get(event.pointerId);
    if (!before) return hover(now);
    const step = [now[0] - before[0], now[1] - before[1]];
    if (down.size === 1 && !moved && Math.hypot(...step) < 5) return;
    moved = true;
    if (down.size === 2) {
      const [other] = [...down].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
      const apart = place => Math.max(1, Math.hypot(place[0] - other[0], place[1] - other[1]));
      zoom(apart(now)/apart(before), [(now[0] + other[0])/2, (now[1] + other[1])/2]);
    }
    move(step[0]/down.size, step[1]/down.size);
    down.set(event.pointerId, now);
  }
  function release(event) {
    if (!down.delete(event.pointerId) || moved || event.type === 'pointercancel') return;
    click(at(event), event.pointerType);
  }
  function wheel(event) {
    if (parent !== window && document.activeElement !== element) return; // the outer page scrolls
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 16 : 1;
    zoom(Math.exp(-clamp(event.deltaY*lines, -200, 200)*.002), at(event));
  }
  element.addEventListener('pointerdown', press);
  element.addEventListener('pointermove', drag);
  element.addEventListener('pointerup', release);
  element.addEventListener('pointercancel', release);
  element.addEventListener('wheel', wheel, {passive: false});
}

const keyArrows = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1]};

// `state`: note, points, shown, found, colour, pictures, thumbnail, drawThumbnail; place, near and
// held are the plot's own. `onplace` is told whenever the pointer moves.
function atlasPlot(root, state, onplace) {
  const {canvas, pointer, buttons, whole} = planeElements(state.note);
  const box = boxOf(state.points);
  let view = {x: box.x, y: box.y, scale: 0, width: 1, height: 1};
  let placed = [];                              // pictures on the screen
  state.order = mixedOrder(state.shown.length);
  const due = {plane: false, pointer: false, asked: false};
  root.append(whole);

  function draw() {                             // at most once for each frame
    due.asked = false;
    if (due.plane) placed = drawPlane(canvas.getContext('2d'), view, state, box);
    drawPointer(pointer.getContext('2d'), view, state);
    due.plane = false;
  }
  function redraw(plane = true) {
    due.plane ||= plane;
    if (due.asked) return;
    due.asked = true;
    requestAnimationFrame(draw);
  }
  function look(next) {                         // from elsewhere, never so far that all is lost
    view = {...view, ...next};
    view.x = clamp(view.x, box.x - box.width, box.x + box.width);
    view.y = clamp(view.y, box.y - box.height, box.y + box.height);
    redraw();
  }
  function fit() {
    const scale = wholeScale(view, box);
    look({x: box.x, y: box.y - noteHeight(view)/2/scale, scale});
  }
  function resize() {
    const {clientWidth: width, clientHeight: height} = whole;
    if (!width || !height) return;
    const ratio = window.devicePixelRatio || 1;
    const share = view.scale/wholeScale(view, box);
    for (const one of [canvas, pointer]) {
      Object.assign(one, {width: Math.round(width*ratio), height: Math.round(height*ratio)});
      one.getContext('2d').setTransform(ratio, 0, 0, ratio, 0, 0);
    }
    view = {...view, width, height};
    if (share) look({scale: share*wholeScale(view, box)});
    else fit();
  }
  function pictureAt([left, top]) {             // drawn last, so seen first
    return placed.findLast(({corner, size}) => left >= corner[0] && left <= corner[0] + size[0]
      && top >= corner[1] && top <= corner[1] + size[1])?.i;
  }
  function put(place, near, held = state.held) {
    Object.assign(state, {place, near: near ?? nearestShown(state, place), held});
    redraw(false);
    onplace();
  }
  const putAt = (at, held) => put(toPlace(view, at), pictureAt(at), held);
  const zoom = (factor, at) => look(zoomed(view, factor, at, wholeScale(view, box)));
  const middle = () => [view.width/2, view.height/2];

  followPointers(pointer, {
    zoom,
    move: (right, down) => look({x: view.x - right/view.scale, y: view.y + down/view.scale}),
    hover: at => state.held || putAt(at),
    click(at, kind) {
      pointer.focus({preventScroll: true});
      putAt(at, kind === 'mouse' && !state.held);
    },
  });
  function goTo(i, held = true) {               // show an image, and as much around it as now
    put([...state.points.subarray(2*i, 2*i + 2)], i, held);
    const [left, top] = toPixels(view, state.place);
    const inside = left > 30 && top > 30 && left < view.width - 30 && top < view.height - 30;
    if (!inside) look({x: state.place[0], y: state.place[1]});
  }
  function step([right, up], pixels) {
    const next = state.place.map((v, i) => v + [right, up][i]*pixels/view.scale);
    put([0, 1].map(i => {
      const {[['x', 'y'][i]]: centre, [['width', 'height'][i]]: size} = box;
      return clamp(next[i], centre - size, centre + size);
    }));
    const [left, top] = toPixels(view, state.place);
    const off = [left - clamp(left, 20, view.width - 20), top - clamp(top, 20, view.height - 20)];
    if (off[0] || off[1]) look({x: view.x + off[0]/view.scale, y: view.y - off[1]/view.scale});
  }
  const keys = {
    '+': () => zoom(1.4, toPixels(view, state.place)),
    '-': () => zoom(1/1.4, toPixels(view, state.place)),
    0: fit,
    Enter: () => put(state.place, state.near, !state.held),
    Escape: () => put(state.place, state.near, false),
  };
  keys['='] = keys['+'];
  keys[' '] = keys.Enter;
  pointer.addEventListener('keydown', event => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const direction = keyArrows[event.key];
    const action = direction ? () => step(direction, event.shiftKey ? 80 : 14) : keys[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
  buttons[0].onclick = () => zoom(1.6, middle());
  buttons[1].onclick = () => zoom(1/1.6, middle());
  buttons[2].onclick = fit;
  new ResizeObserver(resize).observe(whole);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => redraw());
  resize();
  return {put, goTo, redraw, fit, screen: i => toPixels(view, state.points.subarray(2*i, 2*i + 2)),
    placed: () => placed, place: at => toPlace(view, at), element: pointer};
}
