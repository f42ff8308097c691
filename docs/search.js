// Chapters come before the reference and the code, which repeat their words
Scorer.score = ([page, , , , score]) =>
  page.startsWith('_modules/') ? score - 60 : page.startsWith('api') ? score - 40 : score;

// Summaries are cut out of pages as text: formulas are made legible first
const signs = {leq: '≤', geq: '≥', le: '≤', ge: '≥', cdot: '·', times: '×', mid: '|', Vert: '‖',
  to: '→', infty: '∞', approx: '≈', sum: 'Σ', int: '∫', beta: 'β', mu: 'μ', sigma: 'σ', phi: 'φ',
  theta: 'θ', alpha: 'α', gamma: 'γ', lambda: 'λ', epsilon: 'ε', varepsilon: 'ε', pi: 'π', sim: '~',
  tfrac: '', frac: '', left: '', right: '', big: '', bigl: '', bigr: '', Big: '', mathbb: '',
  mathrm: '', mathcal: '', text: '', quad: ' ', qquad: ' ', ',': ' ', ';': ' ', '|': '‖', '\\': ' '};
function inPlainLetters(formula) {
  return formula.replace(/\\[()[\]]/g, '').replace(/\\(begin|end)\{\w+\*?\}|&/g, ' ')
    .replace(/\\([A-Za-z]+|.)/g, (_, name) => signs[name] ?? name)
    .replace(/[{}$]/g, '').replace(/\s+/g, ' ');
}
if (typeof Search !== 'undefined') {
  const htmlToText = Search.htmlToText;
  Search.htmlToText = (text, anchor) => {
    const page = new DOMParser().parseFromString(text, 'text/html');
    for (const e of page.querySelectorAll('.math')) e.textContent = inPlainLetters(e.textContent);
    for (const e of page.querySelectorAll('.buttons, noscript, summary')) e.remove();
    return htmlToText(page.documentElement.outerHTML, anchor);
  };
}
