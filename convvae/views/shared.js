// What the explorers in a browser share. Python puts this file before the others.

// A new element with these properties and children
function el(tag, props = {}, ...children) {
  const {style, aria = {}, ...rest} = props;
  const element = Object.assign(document.createElement(tag), rest);
  if (style) element.style.cssText = style;
  for (const [name, value] of Object.entries(aria)) {
    element.setAttribute(name === 'role' ? name : `aria-${name}`, value);
  }
  element.append(...children);
  return element;
}

// A number with so many digits behind the point, and never -0.0
function fixed(value, digits) {
  const unit = 10**digits;
  return (Math.round(value*unit)/unit + 0).toFixed(digits);
}

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

function bytes(source) {                        // a DataView from the kernel, or base64 from a page
  if (source instanceof DataView) {
    return new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
  }
  return Uint8Array.from(atob(source), character => character.charCodeAt(0));
}

const floats = source => new Float32Array(bytes(source).slice().buffer);
