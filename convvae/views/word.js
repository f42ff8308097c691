// A word in the style of one place of latent space, for the page of a model of letters: its
// decoder is told a letter and draws it; the letters are set side by side as they are wide.

const wordCss = `
.cv-setter { display: flex; flex-direction: column; gap: 8px; }
.cv-type { display: flex; gap: 8px; flex-wrap: wrap; }
.cv-type label { flex: 1 1 150px; display: flex; gap: 8px; align-items: center; }
.cv-type input { flex: 1; min-width: 0; font: inherit; padding: 4px 10px; min-height: 34px;
  box-sizing: border-box; text-transform: uppercase; letter-spacing: .06em; }
.cv-type button { font: inherit; padding: 4px 12px; min-height: 34px; }
.cv-picture.cv-word { width: 100%; max-width: 100%; height: auto; border: 0; border-radius: 0;
  image-rendering: auto; }
`;
const inked = .3;                               // of a pixel that belongs to a letter
const between = 2;                              // pixels from one letter to the next
const blank = 9;                                // pixels of a space

// A letter's values as ink on nothing, and the columns that have any
function letterOf(values, [, height, width], [red, green, blue]) {
  const canvas = el('canvas', {width, height});
  const context = canvas.getContext('2d');
  const frame = context.createImageData(width, height);
  let [first, last] = [width, -1];
  for (let i = 0; i < height*width; i++) {
    frame.data.set([red, green, blue, 255*values[i]], 4*i);
    if (values[i] > inked) [first, last] = [Math.min(first, i%width), Math.max(last, i%width)];
  }
  context.putImageData(frame, 0, 0);
  return last < 0 ? {canvas, left: 0, width} : {canvas, left: first, width: last + 1 - first};
}

function inkOf(element) {                       // the colour of text there, as three numbers
  return getComputedStyle(element).color.match(/[\d.]+/g).slice(0, 3).map(Number);
}

// The elements, and `show(z)`; `onword` is told when another word was typed
function wordSetter(data, decode, onword) {
  const {classes, size} = data;
  const height = size[1];
  const canvas = el('canvas', {className: 'cv-picture cv-word', aria: {role: 'img'}});
  const input = el('input', {value: data.word, maxLength: 12, spellcheck: false,
    autocomplete: 'off', autocapitalize: 'characters'});
  const type = el('div', {className: 'cv-type'}, el('label', {}, 'Word', input));
  const oneHot = i => classes.map((_, k) => Number(k === i));
  const letters = () => [...input.value.toUpperCase()].map(c => c === ' ' ? -1 : classes.indexOf(c))
    .filter((i, at) => i >= 0 || input.value[at] === ' ');

  function set(z) {                             // the letters, each decoded but once
    const drawn = new Map();
    const ink = inkOf(canvas);
    return letters().map(i => {
      if (i >= 0 && !drawn.has(i)) {
        drawn.set(i, letterOf(decode([...z, ...oneHot(i)]), size, ink));
      }
      return drawn.get(i) || {width: blank};
    });
  }
  function show(z) {
    const row = set(z);
    const wide = row.reduce((sum, letter) => sum + letter.width + between, between);
    const scale = 6;
    canvas.width = Math.max(wide, 3*height)*scale;   // a short word does not fill the screen
    canvas.height = height*scale;
    const context = canvas.getContext('2d');
    context.imageSmoothingQuality = 'high';
    let left = (canvas.width/scale - wide)/2 + between;
    for (const {canvas: letter, left: from, width} of row) {
      if (letter) {
        context.drawImage(letter, Math.max(0, from - 1), 0, width + 2, height,
          (left - Math.min(1, from))*scale, 0, (width + 2)*scale, canvas.height);
      }
      left += width + between;
    }
    canvas.setAttribute('aria-label', `${input.value.toUpperCase()}, in the style of this place`);
  }
  const first = () => letters().find(i => i >= 0) ?? 0;
  input.addEventListener('input', onword);
  const whole = el('div', {className: 'cv-setter'}, canvas, type);
  return {whole, type, show, first};
}

// The background of the map: one letter in the styles of a square of places, some at a time
function styleTiles({plane, size, classes}, decode, inkFrom, ondrawn) {
  const side = 11;
  let wanted = null;
  const place = (k, sign) => sign*(2*k + 1 - side)/side*plane.half;

  function draw(letter) {
    if (letter === wanted) return;
    wanted = letter;
    const sheet = el('canvas', {width: side*size[2], height: side*size[1]});
    const context = sheet.getContext('2d');
    const oneHot = classes.map((_, k) => Number(k === letter));
    const ink = inkOf(inkFrom);
    let next = 0;
    function some() {
      if (wanted !== letter) return;
      const until = performance.now() + 12;
      while (next < side**2 && performance.now() < until) {
        const [row, column] = [Math.floor(next/side), next%side];
        const z = movedTo(plane, plane.centre, [place(column, 1), place(row, -1)]);
        const {canvas} = letterOf(decode([...z, ...oneHot]), size, ink);
        context.drawImage(canvas, column*size[2], row*size[1]);
        next++;
      }
      ondrawn(sheet);
      if (next < side**2) requestAnimationFrame(some);
    }
    some();
  }
  return {draw};
}
