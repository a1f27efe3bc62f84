"use strict";
// Pixels of a layer: half-precision codes, 16 bit each. Whatever depends on the value alone is
// worked out once for each of the 65536 codes.
(() => {
  const { bytes } = casarun;
  const CODES = 65536;
  const ONE = 0x3c00;
  const STEPS = 1024;
  const MAPS = {
    inferno: "0000040b0724210c4a3d096557106e71196e8a226aa32c61bc3754d24644e45a31f1731df98e09fcac11f9cb35f2ea69fcffa4",
    viridis: "44015448186a472d7b4240863b528b33638d2c728e26828e21918c1fa08828ae803fbc735ec96284d44baddc30d8e219fde725",
    cividis: "00224e002e6a1a386f32436d434e6c535a6d61656f6f70737d7c788c88789b9476aba072bcae6ccdbb63dec958f0d846fee838",
    grey: "000000ffffff",
    cubehelix: "000000150b1d1b1e3b17374d16534c236a3e447731727b32a1794ac57a76d484a9d198d4c6b4eec1d1f3cbe8f0e3f6f0ffffff",
    "blue-red": "0530611752902a71b23f8ec06bacd19bc9e0c2ddece0ecf3f7f6f6fbe5d8fbccb4f5aa89e48066d05548ba2832930e2667001f",
  };
  const STRETCHES = {
    linear: (t) => t,
    asinh: (t) => Math.asinh(10 * t) / Math.asinh(10),
    sqrt: Math.sqrt,
    log: (t) => Math.log1p(1000 * t) / Math.log(1001),
  };

  const half = new Float64Array(CODES);
  for (let code = 0; code < CODES; code += 1) {
    const [exponent, rest] = [(code >> 10) & 31, code & 1023];
    let value = exponent ? (1 + rest / 1024) * 2 ** (exponent - 15) : rest * 2 ** -24;
    if (exponent === 31) value = NaN;
    half[code] = code & 0x8000 ? -value : value;
  }

  function decode(layer, content) {
    const length = layer.size[0] * layer.size[1] * Math.max(1, layer.channels.length);
    if (content.changes !== undefined) return { codes: runs(content.changes, length), scale: 1 };
    const given = new Uint16Array(bytes(content.half));
    if (content.at === undefined) return { codes: given, scale: content.scale };
    const codes = new Uint16Array(length);
    new Uint32Array(bytes(content.at)).forEach((at, i) => { codes[at] = given[i]; });
    return { codes, scale: content.scale };
  }

  function runs(text, length) {
    const codes = new Uint16Array(length);
    const changes = new Uint32Array(bytes(text));
    for (let i = 0; i < changes.length; i += 2) {
      codes.fill(ONE, changes[i], i + 1 < changes.length ? changes[i + 1] : length);
    }
    return codes;
  }

  // Values between which a share of all pixels lies, from how often each code occurs.
  function counted(codes) {
    const counts = new Uint32Array(CODES);
    for (let i = 0; i < codes.length; i += 1) counts[codes[i]] += 1;
    const order = [];
    for (let code = 0xfbff; code >= 0x8000; code -= 1) if (counts[code]) order.push(code);
    for (let code = 0; code <= 0x7bff; code += 1) if (counts[code]) order.push(code);
    const total = order.reduce((sum, code) => sum + counts[code], 0);
    return (share) => {
      let left = share * Math.max(0, total - 1);
      for (const code of order) {
        left -= counts[code];
        if (left < 0) return half[code];
      }
      return order.length ? half[order[order.length - 1]] : 0;
    };
  }

  function colours(name, inverted) {
    const stops = MAPS[name].match(/.{6}/g).map((one) => [0, 2, 4].map((i) => parseInt(one.slice(i, i + 2), 16)));
    const table = new Uint32Array(STEPS);
    for (let step = 0; step < STEPS; step += 1) {
      const share = inverted ? 1 - step / (STEPS - 1) : step / (STEPS - 1);
      const at = share * (stops.length - 1);
      const low = Math.min(Math.floor(at), stops.length - 2);
      const [r, g, b] = stops[low].map((one, i) => Math.round(one + (stops[low + 1][i] - one) * (at - low)));
      table[step] = (255 << 24) | (b << 16) | (g << 8) | r;
    }
    return table;
  }

  // The colour of each code, blank ones transparent.
  function palette(scale, [low, high], stretch, table) {
    const made = new Uint32Array(CODES);
    const bend = STRETCHES[stretch];
    for (let code = 0; code < CODES; code += 1) {
      const value = half[code] * scale;
      if (Number.isNaN(value)) continue;
      const share = Math.min(1, Math.max(0, (value - low) / (high - low || 1)));
      made[code] = table[Math.round(bend(share) * (STEPS - 1))];
    }
    return made;
  }

  casarun.pixels = { half, decode, counted, colours, palette, MAPS, STRETCHES };
})();
