// The decoder of a model, for one image at a time: a list of steps, which `decoder_program` made
// of its layers. An image here is its channels, height and width, and its values, row by row.

function image(channels, height, width, values) {
  return {channels, height, width, values: values || new Float32Array(channels*height*width)};
}

function padded(x, margin) {                    // zeros all round
  const out = image(x.channels, x.height + 2*margin, x.width + 2*margin);
  for (let row = 0; row < x.channels*x.height; row++) {
    const channel = Math.floor(row/x.height);
    const to = (row + (2*channel + 1)*margin)*out.width + margin;
    out.values.set(x.values.subarray(row*x.width, (row + 1)*x.width), to);
  }
  return out;
}

const operations = {
  places(x, {size}) {                           // latents on their grid, the label at every place
    const [channels, height, width] = size;
    const latents = channels*height*width;
    const label = x.values.subarray(latents);
    const out = image(channels + label.length, height, width);
    out.values.set(x.values.subarray(0, latents));
    const area = height*width;
    label.forEach((v, i) => out.values.fill(v, latents + i*area, latents + (i + 1)*area));
    return out;
  },

  linear(x, {weight, bias, size}) {
    const out = image(...size);
    const n = x.values.length;
    for (let o = 0; o < out.values.length; o++) {
      let sum = bias[o];
      for (let i = 0; i < n; i++) sum += weight[o*n + i]*x.values[i];
      out.values[o] = sum;
    }
    return out;
  },

  silu(x) {
    return {...x, values: x.values.map(v => v/(1 + Math.exp(-v)))};
  },

  group_norm(x, {weight, bias, groups, eps}) {
    const out = image(x.channels, x.height, x.width);
    const n = x.values.length/groups;
    const area = x.height*x.width;
    for (let group = 0; group < groups; group++) {
      const values = x.values.subarray(group*n, (group + 1)*n);
      const mean = values.reduce((sum, v) => sum + v, 0)/n;
      const variance = values.reduce((sum, v) => sum + (v - mean)**2, 0)/n;
      const scale = 1/Math.sqrt(variance + eps);
      for (let i = 0; i < n; i++) {
        const channel = Math.floor((group*n + i)/area);
        out.values[group*n + i] = (values[i] - mean)*scale*weight[channel] + bias[channel];
      }
    }
    return out;
  },

  conv(x, {weight, bias, kernel, padding}) {
    const from = padded(x, padding);
    const out = image(bias.length, from.height - kernel + 1, from.width - kernel + 1);
    const area = out.height*out.width;
    for (let o = 0; o < out.channels; o++) {
      const sums = out.values.subarray(o*area, (o + 1)*area).fill(bias[o]);
      for (let k = 0; k < from.channels*kernel**2; k++) {
        const factor = weight[o*from.channels*kernel**2 + k];
        const top = Math.floor(k/kernel**2)*from.height + Math.floor(k/kernel)%kernel;
        for (let row = 0; row < out.height; row++) {
          const start = (top + row)*from.width + k%kernel;
          for (let column = 0, to = row*out.width; column < out.width; column++, to++) {
            sums[to] += factor*from.values[start + column];
          }
        }
      }
    }
    return out;
  },

  conv_transpose(x, {weight, bias, kernel, stride, padding}) {
    const wide = (x.width - 1)*stride + kernel;
    const sums = image(bias.length, (x.height - 1)*stride + kernel, wide);
    const area = x.height*x.width;
    for (let place = 0; place < x.values.length; place++) {
      const [row, column] = [Math.floor(place%area/x.width), place%x.width];
      let w = Math.floor(place/area)*bias.length*kernel**2;
      for (let o = 0; o < bias.length; o++) {
        for (let k = 0; k < kernel; k++) {
          const to = (o*sums.height + row*stride + k)*wide + column*stride;
          for (let l = 0; l < kernel; l++) sums.values[to + l] += x.values[place]*weight[w++];
        }
      }
    }
    const out = image(bias.length, sums.height - 2*padding, wide - 2*padding);
    const each = out.height*out.width;
    for (let i = 0; i < out.values.length; i++) {
      const [o, row, column] = [Math.floor(i/each), Math.floor(i%each/out.width), i%out.width];
      const from = (o*sums.height + row + padding)*wide + column + padding;
      out.values[i] = sums.values[from] + bias[o];
    }
    return out;
  },

  pixel_shuffle(x, {factor}) {                  // factor x factor channels, laid out as a patch
    const out = image(x.channels/factor**2, x.height*factor, x.width*factor);
    for (let to = 0; to < out.values.length; to++) {
      const column = to%out.width;
      const row = Math.floor(to/out.width)%out.height;
      const first = Math.floor(to/out.width/out.height)*factor**2;
      const channel = first + row%factor*factor + column%factor;
      const place = Math.floor(row/factor)*x.width + Math.floor(column/factor);
      out.values[to] = x.values[channel*x.height*x.width + place];
    }
    return out;
  },

  residual(x, {steps}) {
    const change = through(steps, x).values;
    return {...x, values: x.values.map((v, i) => v + change[i])};
  },

  crop(x, {height, width}) {
    const out = image(x.channels, height, width);
    for (let row = 0; row < x.channels*height; row++) {
      const from = (Math.floor(row/height)*x.height + row%height)*x.width;
      out.values.set(x.values.subarray(from, from + width), row*width);
    }
    return out;
  },

  bias(x, {bias}) {
    return {...x, values: x.values.map((v, i) => v + bias[i])};
  },
};

function through(steps, x) {
  return steps.reduce((h, step) => operations[step.kind](h, step), x);
}

// The mean of a pixel is looked up in a table. A column stands for a raw value, a row for a second
// one, if the likelihood takes two; the nodes are even in asinh(raw), from -reach to reach.
function meanOf({means, rows, columns, reach}) {
  const node = (raw, n) => clamp((Math.asinh(raw)/reach + 1)/2*(n - 1), 0, n - 1);
  function mix(place, value) {               // between the two nodes on either side
    const lower = Math.floor(place);
    const share = place - lower;
    return share ? (1 - share)*value(lower) + share*value(lower + 1) : value(lower);
  }
  return raw => {
    const n = raw.length/(rows > 1 ? 2 : 1);
    return raw.subarray(0, n).map((first, i) => {
      const x = node(first, columns);
      const y = rows > 1 ? node(raw[n + i], rows) : 0;
      return mix(y, row => mix(x, column => means[row*columns + column]));
    });
  };
}

function halves(source) {                       // float16 to float32
  return Float32Array.from(new Uint16Array(bytes(source).buffer), half => {
    const exponent = half >> 10 & 31;
    const fraction = (half & 1023)/1024;
    const size = exponent ? 2**(exponent - 15)*(1 + fraction) : 2**-14*fraction;
    return half >> 15 ? -size : size;
  });
}

function unpacked(step) {                       // the weights of a step as numbers
  const out = {...step};
  for (const name of ['weight', 'bias']) if (name in step) out[name] = halves(step[name]);
  if (step.steps) out.steps = step.steps.map(unpacked);
  return out;
}

function decoder({steps, table}) {              // latents, and the label as 0s and 1s -> pixels
  const ready = steps.map(unpacked);
  const mean = meanOf({...table, means: halves(table.means)});
  return inputs => {
    const first = image(inputs.length, 1, 1, Float32Array.from(inputs));
    return mean(through(ready, first).values);
  };
}
