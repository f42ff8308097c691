// A picture divided into places, for `PlaceExplorer`: one is chosen by a click or the arrow keys.
// anywidget calls `render`. `share` is the part of the picture's height and width that a place has.

const boardCss = `
.cv-board { position: relative; width: 280px; max-width: 100%; touch-action: manipulation;
  cursor: pointer; overflow: hidden; }
.cv-board:focus-visible { outline: 3px solid #3b82f6; outline-offset: 1px; }
.cv-board img { display: block; width: 100%; image-rendering: pixelated; }
.cv-board div { position: absolute; box-sizing: border-box; border: 2px solid #fff;
  outline: 2px solid #e11d48; pointer-events: none; }
.cv-chosen { font: 13px/1.6 system-ui, sans-serif; }
`;
const steps = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0]};

function render({model, el: root}) {
  const picture = el('img', {alt: 'The decoded image', draggable: false});
  const mark = el('div');
  const aria = {role: 'application', label: 'Places of the image: arrow keys choose another'};
  const board = el('div', {className: 'cv-board', tabIndex: 0, aria}, picture, mark);
  const chosen = el('div', {className: 'cv-chosen', aria: {live: 'polite'}});
  root.append(el('style', {textContent: boardCss}), board, chosen);

  function put() {
    const [row, column] = model.get('at');
    const [height, width] = model.get('share').map(share => 100*share);
    mark.style.cssText = `top: ${row*height}%; left: ${column*width}%; `
      + `height: ${height}%; width: ${width}%`;
    chosen.textContent = `row ${row}, column ${column}: click another place, or use the arrow keys`;
  }
  function move(row, column) {
    const [rows, columns] = model.get('grid');
    model.set('at', [clamp(row, 0, rows - 1), clamp(column, 0, columns - 1)]);
    model.save_changes();
  }
  function press(event) {
    const box = picture.getBoundingClientRect();
    const [height, width] = model.get('share');
    const row = (event.clientY - box.top)/box.height/height;
    move(Math.floor(row), Math.floor((event.clientX - box.left)/box.width/width));
    board.focus({preventScroll: true});
  }
  function step(event) {
    const direction = steps[event.key];
    if (!direction) return;
    event.preventDefault();
    event.stopPropagation();                    // notebooks have shortcuts of their own
    const [row, column] = model.get('at');
    move(row + direction[0], column + direction[1]);
  }
  function show() {
    const old = picture.src;
    picture.src = URL.createObjectURL(new Blob([bytes(model.get('picture'))], {type: 'image/png'}));
    if (old) URL.revokeObjectURL(old);
  }
  board.addEventListener('pointerdown', press);
  board.addEventListener('keydown', step);
  model.on('change:at', put);
  model.on('change:picture', show);
  put();
  show();
}

export default {render};
