"use strict";
// Image viewer: layers of one image on one grid, each pixel's value and place under the pointer.
(() => {
  const { make, select, colour, onThemeChange, significant, prefixed, sky, pixels } = casarun;
  const LIMITS = [
    ["noise", "−3 to 60 sigma"], ["1", "all values"], ["0.999", "99.9 %"], ["0.995", "99.5 %"],
    ["0.99", "99 %"], ["0.95", "95 %"], ["typed", "as typed"],
  ];
  const KEYS = "Arrows move the pointer (Shift: ten pixels), + and − zoom, 0 shows all, [ and ] "
    + "change the channel, 1 to 9 the layer, B blinks, P holds the pointer where it is. "
    + "Drag to pan; the wheel zooms once the picture was clicked.";

  class ImageViewer {
    constructor(place, about, folder) {
      Object.assign(this, { place, about, folder });
      this.loaded = new Map();
      this.limits = new Map();
      this.layer = about.layers[0];
      this.channel = about.channel;
      this.stretch = "linear";
      this.map = "inferno";
      this.inverted = false;
      this.pointer = null;
      this.held = false;
      this.view = null;
      this.outline = false;
      this.marked = true;
      this.other = about.layers[1] || about.layers[0];
    }

    async start() {
      this.build();
      await this.show(this.layer);
      this.resize();
      new ResizeObserver(() => this.resize()).observe(this.stage);
      this.ready = true;
      onThemeChange(() => { this.chart?.destroy(); this.chart = null; this.paint(); this.spectrum(); });
    }

    // Layout

    build() {
      const { about } = this;
      this.canvas = make("canvas", { tabindex: 0, role: "application", "aria-label": `Picture of ${about.title}. ${KEYS}` });
      this.stage = make("div", { class: "stage" }, this.canvas);
      this.bar = make("canvas", { class: "bar", "aria-hidden": true });
      this.value = make("output", { class: "value" });
      this.note = make("p", { class: "soft" });
      this.graph = make("div", { class: "graph" });
      this.place.append(this.layerBar(), this.lookBar(), ...this.channelBar(),
        make("div", { class: "screen" }, this.stage, this.bar), this.value, this.graph, this.note,
        make("details", {}, make("summary", {}, "Keys"), make("p", { class: "soft" }, KEYS)));
      this.listen();
    }

    layerBar() {
      const bar = make("div", { class: "tools", role: "toolbar", "aria-label": "Layers" });
      this.buttons = this.about.layers.map((layer) => {
        const button = make("button", { type: "button", onclick: () => { this.blink(false); this.show(layer); } }, layer.title);
        bar.append(button);
        return button;
      });
      if (this.about.layers.length < 2) return bar;
      this.blinker = make("button", { type: "button", class: "blink", "aria-pressed": "false", onclick: () => this.blink(!this.timer) }, "Blink");
      const other = select("with", this.about.layers.map((one) => [one.key, one.title]), (key) => { this.other = this.find(key); }, this.other.key);
      bar.append(this.blinker, other.whole);
      if (this.find("mask")) {
        const box = make("input", { type: "checkbox", onchange: () => this.setOutline(box.checked) });
        bar.append(make("label", {}, box, " outline of the mask"));
      }
      if (this.about.sources?.length) {
        const box = make("input", { type: "checkbox", onchange: () => { this.marked = box.checked; this.draw(); } });
        box.checked = true;
        bar.append(make("label", {}, box, " sources"));
      }
      return bar;
    }

    lookBar() {
      const change = (name) => (value) => { this[name] = value; this.paint(); };
      this.lower = make("input", { type: "number", step: "any", "aria-label": "lower limit", onchange: () => this.typed() });
      this.upper = make("input", { type: "number", step: "any", "aria-label": "upper limit", onchange: () => this.typed() });
      this.mode = select("Limits", LIMITS, (mode) => { this.limit.mode = mode; this.paint(); });
      this.stretchList = select("Stretch", Object.keys(pixels.STRETCHES).map((one) => [one, one]), change("stretch"));
      this.mapList = select("Colours", Object.keys(pixels.MAPS).map((one) => [one, one]), change("map"));
      const box = make("input", { type: "checkbox", onchange: () => change("inverted")(box.checked) });
      const zoom = (text, label, act) => make("button", { type: "button", "aria-label": label, onclick: act }, text);
      this.unit = make("span");
      return make("div", { class: "tools", role: "toolbar", "aria-label": "Look" },
        this.stretchList.whole, this.mode.whole, this.lower, this.upper, this.unit,
        this.mapList.whole, make("label", {}, box, " inverted"),
        zoom("−", "zoom out", () => this.zoom(1 / 1.5)), zoom("+", "zoom in", () => this.zoom(1.5)), zoom("all", "show all", () => this.fit()));
    }

    channelBar() {
      const channels = this.about.layers[0].channels;
      if (!channels.length) return [];
      this.slider = make("input", { type: "range", min: 0, max: channels.length - 1, step: 1, "aria-label": "channel", oninput: () => this.setChannel(channels[this.slider.value]) });
      this.channelText = make("output");
      return [make("div", { class: "tools channel", role: "toolbar", "aria-label": "Channel" },
        make("span", {}, "Channel"), this.slider, this.channelText)];
    }

    listen() {
      const { canvas } = this;
      const at = (event) => this.toImage(event.offsetX, event.offsetY);
      canvas.addEventListener("pointerdown", (event) => {
        this.drag = { x: event.offsetX, y: event.offsetY, view: { ...this.view }, moved: false };
        canvas.setPointerCapture(event.pointerId);
      });
      canvas.addEventListener("pointermove", (event) => {
        if (this.drag) this.pan(event.offsetX - this.drag.x, event.offsetY - this.drag.y);
        if (!this.drag?.moved && !this.held) this.point(at(event));
      });
      canvas.addEventListener("pointerup", () => {
        if (this.drag && !this.drag.moved) this.hold(!this.held);
        this.drag = null;
      });
      canvas.addEventListener("pointercancel", () => { this.drag = null; });
      canvas.addEventListener("dblclick", () => this.fit());
      canvas.addEventListener("wheel", (event) => {
        if (document.activeElement !== canvas && !event.ctrlKey) return;
        event.preventDefault();
        this.zoom(1.2 ** -Math.sign(event.deltaY), at(event));
      }, { passive: false });
      canvas.addEventListener("keydown", (event) => this.key(event));
    }

    key(event) {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const step = event.shiftKey ? 10 : 1;
      const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
      const acts = {
        "+": () => this.zoom(1.5, this.pointer), "=": () => this.zoom(1.5, this.pointer), "-": () => this.zoom(1 / 1.5, this.pointer),
        0: () => this.fit(), b: () => this.blink(!this.timer), p: () => this.hold(!this.held),
        "[": () => this.stepChannel(-1), "]": () => this.stepChannel(1),
      };
      const layer = this.about.layers[Number(event.key) - 1];
      if (moves[event.key]) {
        const from = this.pointer || this.middle();
        const [x, y] = moves[event.key];
        this.point({ x: from.x + x, y: from.y + y });
      } else if (acts[event.key.toLowerCase()]) acts[event.key.toLowerCase()]();
      else if (layer) this.show(layer);
      else return;
      event.preventDefault();
    }

    // Data

    find(key) { return this.about.layers.find((layer) => layer.key === key); }

    async load(layer) {
      if (!this.loaded.has(layer.key)) {
        const content = await casarun.load(`${this.folder}${layer.key}.js`);
        const data = pixels.decode(layer, content);
        this.loaded.set(layer.key, { ...data, share: pixels.counted(data.codes) });
      }
      return this.loaded.get(layer.key);
    }

    async show(layer) {
      this.layer = layer;
      try {
        await this.load(layer);
      } catch (error) {
        this.note.textContent = error.message;
        return;
      }
      if (this.layer !== layer) return;
      if (layer.key === "mom1") this.map = this.mapList.list.value = "blue-red";
      this.buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(this.about.layers[i] === layer)));
      this.paint();
      this.spectrum();
      this.explain();
    }

    get data() { return this.loaded.get(this.layer.key); }

    // Which of a layer's planes shows the channel: the nearest that was written.
    planeOf(layer) {
      const { channels } = layer;
      if (channels.length < 2) return 0;
      let best = 0;
      channels.forEach((one, i) => { if (Math.abs(one - this.channel) < Math.abs(channels[best] - this.channel)) best = i; });
      return best;
    }

    indexAt(layer, at) {
      const column = Math.floor((at.x - layer.corner[0]) / layer.bin);
      const row = Math.floor((at.y - layer.corner[1]) / layer.bin);
      const [wide, high] = layer.size;
      return column < 0 || row < 0 || column >= wide || row >= high ? -1 : row * wide + column;
    }

    valueAt(layer, at, plane = this.planeOf(layer)) {
      const index = this.indexAt(layer, at);
      const data = this.loaded.get(layer.key);
      if (index < 0 || !data) return NaN;
      return pixels.half[data.codes[plane * layer.size[0] * layer.size[1] + index]] * data.scale;
    }

    // Look

    get limit() {
      const key = this.layer.unit || this.layer.key;
      if (!this.limits.has(key)) {
        const noise = this.about.noise && key === this.about.layers[0].unit;
        this.limits.set(key, { mode: noise ? "noise" : /^mom/.test(this.layer.key) ? "0.99" : "1" });
      }
      return this.limits.get(key);
    }

    range() {
      const { limit } = this;
      const { noise, peak } = this.about;
      if (limit.mode === "typed") return [limit.low, limit.high];
      if (this.layer.mask || this.layer.key === "pb") return [0, 1];
      if (limit.mode === "noise") return noise ? [-3 * noise, Math.max(5 * noise, Math.min(peak, 60 * noise))] : this.shareRange(1);
      return this.shareRange(Number(limit.mode));
    }

    shareRange(share) {
      const { data } = this;
      return [(1 - share) / 2, (1 + share) / 2].map((one) => data.share(one) * data.scale);
    }

    typed() {
      const [low, high] = [Number(this.lower.value), Number(this.upper.value)];
      if (Number.isFinite(low) && high > low) Object.assign(this.limit, { mode: "typed", low, high });
      this.paint();
    }

    paint() {
      const { layer, data } = this;
      if (!data) return;
      const [low, high] = this.range();
      this.mode.list.value = this.limit.mode;
      [this.lower.value, this.upper.value] = [low, high].map((one) => significant(one, 4));
      this.unit.textContent = layer.unit;
      const table = pixels.colours(this.map, this.inverted);
      const palette = pixels.palette(data.scale, [low, high], this.stretch, table);
      const [wide, high_] = layer.size;
      const first = this.planeOf(layer) * wide * high_;
      const image = new ImageData(wide, high_);
      const target = new Uint32Array(image.data.buffer);
      for (let row = 0; row < high_; row += 1) {
        const from = first + row * wide;
        const to = (high_ - 1 - row) * wide;  // a picture's first row is at the top
        for (let column = 0; column < wide; column += 1) target[to + column] = palette[data.codes[from + column]];
      }
      this.drawn = new OffscreenCanvas(wide, high_);
      this.drawn.getContext("2d").putImageData(image, 0, 0);
      this.drawnLayer = layer;
      this.edges = this.outline ? this.maskEdges() : null;
      this.draw();
      this.drawBar(table, [low, high]);
      this.read();
    }

    maskEdges() {
      const mask = this.find("mask");
      const { codes } = this.loaded.get("mask");
      const [wide, high] = mask.size;
      const first = this.planeOf(mask) * wide * high;
      const on = (column, row) => codes[first + row * wide + column] > 0;
      const path = new Path2D();
      const place = (column, row) => [mask.corner[0] + column * mask.bin, mask.corner[1] + row * mask.bin];
      const edge = (from, to) => { path.moveTo(...place(...from)); path.lineTo(...place(...to)); };
      for (let row = 0; row < high; row += 1) {
        for (let column = 0; column < wide; column += 1) {
          if (column && on(column, row) !== on(column - 1, row)) edge([column, row], [column, row + 1]);
          if (row && on(column, row) !== on(column, row - 1)) edge([column, row], [column + 1, row]);
        }
      }
      return path;
    }

    async setOutline(wanted) {
      this.outline = wanted;
      if (wanted) await this.load(this.find("mask"));
      this.paint();
    }

    // View: x, y of the middle in pixels of the image, zoom in screen pixels for each of them

    resize() {
      const { clientWidth, clientHeight } = this.stage;
      const ratio = devicePixelRatio || 1;
      [this.canvas.width, this.canvas.height] = [clientWidth, clientHeight].map((one) => Math.round(one * ratio));
      [this.bar.width, this.bar.height] = [this.bar.clientWidth, clientHeight].map((one) => Math.round(one * ratio));
      if (this.view && !this.view.all) this.draw();
      else this.fit();
      if (this.data) this.paint();
      this.chart?.setSize({ width: this.graph.clientWidth, height: 200 });
    }

    fit() {
      const [first] = this.about.layers;
      const [wide, high] = first.size.map((one) => one * first.bin);
      const zoom = Math.min(this.stage.clientWidth / wide, this.stage.clientHeight / high);
      this.view = { x: first.corner[0] + wide / 2, y: first.corner[1] + high / 2, zoom, all: true };
      this.draw();
    }

    zoom(factor, about = null) {
      const zoom = Math.min(80, Math.max(0.05, this.view.zoom * factor));
      const share = 1 - this.view.zoom / zoom;
      const fixed = about ? { x: about.x + 0.5, y: about.y + 0.5 } : this.view;
      this.view = { x: this.view.x + (fixed.x - this.view.x) * share, y: this.view.y + (fixed.y - this.view.y) * share, zoom };
      this.draw();
    }

    pan(dx, dy) {
      if (Math.hypot(dx, dy) > 3) this.drag.moved = true;
      if (!this.drag.moved) return;
      const { x, y, zoom } = this.drag.view;
      this.view = { x: x - dx / zoom, y: y + dy / zoom, zoom };
      this.draw();
    }

    middle() { return { x: Math.floor(this.view.x), y: Math.floor(this.view.y) }; }

    // The pixel under a point of the canvas.
    toImage(left, top) {
      const { x, y, zoom } = this.view;
      return {
        x: Math.floor((left - this.stage.clientWidth / 2) / zoom + x),
        y: Math.floor((this.stage.clientHeight / 2 - top) / zoom + y),
      };
    }

    draw() {
      if (this.waiting || !this.drawn || !this.view) return;
      this.waiting = requestAnimationFrame(() => { this.waiting = null; this.drawNow(); });
    }

    drawNow() {
      const { canvas, view, drawn, drawnLayer: layer } = this;
      const context = canvas.getContext("2d");
      const ratio = devicePixelRatio || 1;
      const scale = view.zoom * ratio;
      context.setTransform(1, 0, 0, 1, 0, 0);
      context.clearRect(0, 0, canvas.width, canvas.height);
      // The image's own coordinates, y upwards.
      context.setTransform(scale, 0, 0, -scale, canvas.width / 2 - view.x * scale, canvas.height / 2 + view.y * scale);
      context.imageSmoothingEnabled = false;
      const [wide, high] = layer.size.map((one) => one * layer.bin);
      context.save();
      context.translate(layer.corner[0], layer.corner[1] + high);
      context.scale(1, -1);
      context.drawImage(drawn, 0, 0, wide, high);
      context.restore();
      if (this.edges) this.stroke(context, this.edges, "#56b4e9", 1.4 / view.zoom);
      if (this.marked) this.drawSources(context);
      this.drawPointer(context);
      this.drawBeam(context);
    }

    stroke(context, path, style, width) {
      Object.assign(context, { strokeStyle: style, lineWidth: width });
      context.stroke(path);
    }

    // Ellipses of the catalogue at half the peak, wide enough to be seen, with their numbers
    drawSources(context) {
      const { view: { zoom }, about: { sources = [], sky: { increment_deg: step } } } = this;
      Object.assign(context, { fillStyle: "#56b4e9", font: `${12 / zoom}px sans-serif`, textBaseline: "bottom" });
      for (const { id, x, y, major, minor, pa_deg: turn } of sources) {
        const ellipse = new Path2D();
        const [long, short] = [major, minor].map((width) => Math.max(width / 2, 7 / zoom));
        ellipse.ellipse(x + 0.5, y + 0.5, long, short, Math.PI / 2 - Math.sign(step[0]) * turn * Math.PI / 180, 0, 2 * Math.PI);
        this.stroke(context, ellipse, "#56b4e9", 1.4 / zoom);
        context.save();
        context.translate(x + 0.5 + short, y + 0.5 + short);
        context.scale(1, -1);
        context.fillText(id, 0, 0);
        context.restore();
      }
    }

    sourceAt({ x, y }) {
      const near = (one) => Math.hypot(one.x - x, one.y - y) <= Math.max(one.major / 2, 7 / this.view.zoom);
      const one = this.marked && this.about.sources?.find(near);
      return one ? `; source ${one.id}: ${prefixed(one.flux_jy, "Jy")}` : "";
    }

    drawPointer(context) {
      if (!this.pointer) return;
      const { x, y } = this.pointer;
      const arm = Math.max(1, 9 / this.view.zoom);
      const cross = new Path2D();
      cross.rect(x, y, 1, 1);
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        cross.moveTo(x + 0.5 + dx * (0.5 + arm / 2), y + 0.5 + dy * (0.5 + arm / 2));
        cross.lineTo(x + 0.5 + dx * (0.5 + 2 * arm), y + 0.5 + dy * (0.5 + 2 * arm));
      }
      this.stroke(context, cross, "#000", 3 / this.view.zoom);
      this.stroke(context, cross, this.held ? "#ffd24a" : "#fff", 1.3 / this.view.zoom);
    }

    drawBeam(context) {
      const { beam, sky: { increment_deg: step } } = this.about;
      if (!beam) return;
      const pixel = Math.abs(step[1]) * 3600;
      const [major, minor] = [beam[0] / pixel / 2, beam[1] / pixel / 2];
      const inset = major + 10 / this.view.zoom;
      const at = [this.view.x - this.stage.clientWidth / 2 / this.view.zoom + inset, this.view.y - this.stage.clientHeight / 2 / this.view.zoom + inset];
      const ellipse = new Path2D();
      // From north (up) through east, which is left where right ascension grows to the left.
      ellipse.ellipse(...at, major, minor, Math.PI / 2 - Math.sign(step[0]) * beam[2] * Math.PI / 180, 0, 2 * Math.PI);
      this.stroke(context, ellipse, "#000", 4 / this.view.zoom);
      this.stroke(context, ellipse, "#fff", 2 / this.view.zoom);
    }

    drawBar(table, [low, high]) {
      const context = this.bar.getContext("2d");
      const ratio = devicePixelRatio || 1;
      const [wide, tall] = [this.bar.width / ratio, this.bar.height / ratio];
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      context.clearRect(0, 0, wide, tall);
      const bend = pixels.STRETCHES[this.stretch];
      for (let line = 0; line < tall; line += 1) {
        const code = table[Math.round(bend(1 - line / tall) * (table.length - 1))];
        context.fillStyle = `rgb(${code & 255} ${(code >> 8) & 255} ${(code >> 16) & 255})`;
        context.fillRect(0, line, 16, 1.5);
      }
      Object.assign(context, { fillStyle: colour("ink"), font: "12px sans-serif", textBaseline: "middle" });
      const like = Math.max(Math.abs(low), Math.abs(high));
      for (let tick = 0; tick <= 5; tick += 1) {
        const y = Math.min(tall - 8, Math.max(8, tall * (1 - tick / 5)));
        const text = prefixed(low + (high - low) * tick / 5, this.layer.unit, like).split(" ");
        context.fillText(`${significant(Number(text[0]), 3)} ${text.slice(1).join(" ")}`, 22, y);
      }
    }

    // Pointer

    point(at) {
      this.pointer = at;
      this.draw();
      this.read();
      this.spectrum();
    }

    hold(wanted) {
      this.held = wanted && this.pointer !== null;
      this.draw();
      this.read();
    }

    read() {
      const { pointer: at, layer, about } = this;
      if (!at) {
        this.value.textContent = "Point at the picture: its values are read here.";
        return;
      }
      const value = this.valueAt(layer, at);
      const position = sky.world(about.sky, at.x, at.y);
      Object.assign(this.value.dataset, { value, x: at.x, y: at.y, lon: position?.[0] ?? "", lat: position?.[1] ?? "" });
      const said = layer.mask ? (value > 0 ? "inside" : "outside") : Number.isNaN(value) ? "blank" : prefixed(value, layer.unit);
      const channel = layer.channels.length ? `, ${this.channelWords()}` : "";
      this.value.replaceChildren(make("b", {}, `${layer.title}: ${said}`),
        ` at ${sky.text(about.sky, position)}, pixel ${at.x}, ${at.y}${channel}${this.sourceAt(at)}${this.held ? " (held: click again to let go)" : ""}`);
    }

    explain() {
      const { layer, about } = this;
      const parts = [`Values are written with 11 bits: right to ${significant(about.precision * 100, 2)} %.`];
      if (layer.bin > 1) parts.push(`Each pixel shown is the mean of ${layer.bin} × ${layer.bin} of the image.`);
      const all = about.layers[0].channels.length && about.spectral ? about.spectral.frequencies_hz.length : 0;
      if (layer.channels.length === 1 && all > 1) parts.push(`Shown for channel ${layer.channels[0]} alone.`);
      else if (layer.channels.length && layer.channels.length < all) parts.push(`${layer.channels.length} of ${all} channels are here; the file has them all.`);
      const [wide, high] = about.sky.shape;
      const [first] = about.layers;
      if (first.size[0] * first.bin < wide || first.size[1] * first.bin < high) parts.push(`Cut to what is not blank, of ${wide} × ${high} pixels.`);
      this.note.textContent = parts.join(" ");
    }

    // Channels

    setChannel(channel) {
      this.channel = channel;
      this.paint();
      this.chart?.redraw(false);
    }

    stepChannel(by) {
      if (!this.slider) return;
      this.slider.value = Number(this.slider.value) + by;
      this.slider.dispatchEvent(new Event("input"));
    }

    axis() {
      const { frequencies_hz: hertz, rest_hz: rest, frame } = this.about.spectral;
      if (rest > 0) return { label: `radio velocity (km/s, ${frame})`, unit: "km/s", at: hertz.map((one) => 299792.458 * (1 - one / rest)) };
      return { label: `frequency (MHz, ${frame})`, unit: "MHz", at: hertz.map((one) => one / 1e6) };
    }

    channelWords() {
      const { at, unit } = this.axis();
      return `channel ${this.channel} of ${at.length}, ${at[this.channel].toFixed(unit === "MHz" ? 4 : 1)} ${unit}`;
    }

    spectrum() {
      if (!this.slider) return;
      this.slider.value = this.planeOf(this.about.layers[0]);
      this.channelText.textContent = this.channelWords();
      const layer = this.layer.channels.length > 1 && !this.layer.mask ? this.layer : this.about.layers[0];
      if (!this.pointer || this.indexAt(layer, this.pointer) < 0) return;
      const axis = this.axis();
      const order = layer.channels.map((channel, plane) => [axis.at[channel], this.valueAt(layer, this.pointer, plane), channel]);
      order.sort((a, b) => a[0] - b[0]);
      this.order = order.map((one) => one[2]);
      const data = [order.map((one) => one[0]), order.map((one) => (Number.isNaN(one[1]) ? null : one[1]))];
      if (this.chart && this.chartUnit !== layer.unit) {
        this.chart.destroy();
        this.chart = null;
      }
      this.chartUnit = layer.unit;
      if (this.chart) this.chart.setData(data);
      else this.chart = this.makeChart(axis.label, layer, data);
    }

    makeChart(label, layer, data) {
      const axis = casarun.axis();
      const marker = (chart) => {
        const left = chart.valToPos(this.axis().at[this.channel], "x", true);
        const { ctx, bbox } = chart;
        ctx.save();
        Object.assign(ctx, { strokeStyle: colour("fail"), lineWidth: 1.5 });
        ctx.beginPath();
        ctx.moveTo(left, bbox.top);
        ctx.lineTo(left, bbox.top + bbox.height);
        ctx.stroke();
        ctx.restore();
      };
      return new uPlot({
        width: this.graph.clientWidth, height: 200, legend: { show: false },
        scales: { x: { time: false } }, cursor: { drag: { x: false, y: false } },
        axes: [{ ...axis, label, labelSize: 20, size: 34 }, { ...axis, label: layer.unit, size: 70 }],
        series: [{}, { stroke: colour("link"), width: 1.5, points: { show: false } }],
        hooks: {
          draw: [marker],
          ready: [(chart) => chart.over.addEventListener("click", () => {
            if (chart.cursor.idx !== null) { this.setChannel(this.order[chart.cursor.idx]); this.spectrum(); }
          })],
        },
      }, data, this.graph);
    }

    // Blink

    blink(wanted) {
      if (!this.blinker) return;
      clearInterval(this.timer);
      this.timer = null;
      this.blinker.setAttribute("aria-pressed", String(wanted));
      if (!wanted) return;
      const pair = [this.layer, this.layer === this.other ? this.about.layers.find((one) => one !== this.other) : this.other];
      this.timer = setInterval(() => {
        if (!this.canvas.isConnected) clearInterval(this.timer);
        else if (!document.hidden) this.show(this.layer === pair[0] ? pair[1] : pair[0]);
      }, 700);
    }
  }

  casarun.viewers.image = async (place, about, folder) => {
    const viewer = new ImageViewer(place, about, folder);
    place.viewer = viewer;
    await viewer.start();
  };
})();
