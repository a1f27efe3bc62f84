"use strict";
// Plot viewer: points that say what they are of. uPlot draws axes and takes the mouse; the points,
// of any number and kind, are drawn and found here.
(() => {
  const { make, select, colour, onThemeChange, significant, bytes } = casarun;
  // Okabe & Ito 2008: colours that colour-blind people can tell apart.
  const FEW = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#8a8f98"];
  const FEW_DARK = ["#4aa3df", "#f07f33", "#2fc79a", "#e39cc6", "#8fd0f5", "#f0bb4a", "#b4bac4"];
  const TYPES = { f4: Float32Array, u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, i4: Int32Array };
  const NEAR = 24;
  const HEIGHT = 260;
  const OF = [["antenna", "antenna"], ["antenna1", "antenna"], ["baseline", "baseline"], ["spw", "spw"], ["scan", "scan"],
    ["field", "field"], ["feed", "feed"], ["correlation", "correlation"]];
  const KEYS = "Drag a box to zoom in, double-click for all; with Shift, drag to pan; the wheel zooms once a plot was "
    + "clicked. Arrows pan, + and − zoom, 0 shows all, N and P go to the next and the previous point. "
    + "A click on a point brings out its antenna.";

  function unpack(column, number) {
    if (column.all !== undefined) return { get: () => Number(column.all), length: number };
    const values = new TYPES[column.type](bytes(column.data));
    const from = column.from || 0;
    return { get: (i) => values[i] + from, length: number };
  }

  class PointViewer {
    constructor(place, about) {
      Object.assign(this, { place, about, number: about.number });
      this.columns = Object.fromEntries(Object.entries(about.columns).map(([key, one]) => [key, unpack(one, about.number)]));
      this.x = about.x[0];
      this.wanted = {};
      this.flags = true;
      this.by = ["feed", "field", "correlation", "antenna"].find((key) => this.columns[key]);
      this.picked = null;
      this.near = null;
      this.panels = about.y.map((y) => ({ y }));
    }

    start() {
      this.build();
      this.choose();
      this.reset();
      this.ready = true;
      new ResizeObserver(() => this.resize()).observe(this.plots);
      onThemeChange(() => this.rebuild());
    }

    // What points are of

    valuesOf(key) {
      const column = this.columns[key];
      const found = new Set();
      for (let i = 0; i < this.number; i += 1) found.add(column.get(i));
      return [...found].sort((a, b) => a - b);
    }

    nameOf(key, value) {
      return String(this.about.names[key === "antenna1" || key === "antenna2" ? "antenna" : key]?.[value] ?? value);
    }

    is(key, i, value) {
      if (key === "antenna" && !this.columns.antenna) return this.columns.antenna1.get(i) === value || this.columns.antenna2.get(i) === value;
      return this.columns[key].get(i) === value;
    }

    describe(i, y) {
      const { columns } = this;
      const of = [];
      const add = (text) => of.push(text);
      if (columns.antenna) add(`antenna ${this.nameOf("antenna", columns.antenna.get(i))}`);
      if (columns.antenna1) add(`baseline ${this.nameOf("antenna", columns.antenna1.get(i))} & ${this.nameOf("antenna", columns.antenna2.get(i))}`);
      for (const key of ["feed", "correlation"]) if (columns[key]) add(`${key} ${this.nameOf(key, columns[key].get(i))}`);
      for (const key of ["scan", "spw", "field", "channel"]) if (columns[key]) add(`${key} ${this.nameOf(key, columns[key].get(i))}`);
      const flagged = columns.flagged?.get(i);
      const value = flagged ? `${y.label} flagged` : `${y.label} ${significant(columns[y.key].get(i), 5)} ${y.unit}`.trim();
      const rest = [this.xText(this.x, columns[this.x.key].get(i))];
      if (this.x.key !== "time" && columns.time) rest.push(this.xText({ key: "time" }, columns.time.get(i)));
      if (columns.snr && !flagged) rest.push(`S/N ${significant(columns.snr.get(i), 3)}`);
      return { head: of.join(", "), text: `${value} at ${rest.join(", ")}` };
    }

    xText(axis, value) {
      if (axis.key === "time") return `${new Date(value * 1000).toISOString().slice(0, 19).replace("T", " ")} UTC`;
      return `${axis.label} ${significant(value, 7)} ${axis.unit}`.trim();
    }

    // Layout

    build() {
      this.value = make("output", { class: "value" }, "Point at a plot: it says what is nearest.");
      this.plots = make("div", { class: "plots" });
      this.tip = make("div", { class: "tip", hidden: true, "aria-hidden": true });
      this.ring = make("div", { class: "ring" });
      this.key = make("p", { class: "key" });
      this.place.append(this.tools(), this.key, this.plots, this.value);
      if (this.about.remark) this.place.append(make("p", { class: "soft" }, this.about.remark));
      this.place.append(make("details", {}, make("summary", {}, "Keys"), make("p", { class: "soft" }, KEYS)));
      this.rebuild();
    }

    tools() {
      const bar = make("div", { class: "tools", role: "toolbar", "aria-label": `Tools of ${this.about.title}` });
      if (this.about.x.length > 1) {
        bar.append(select("Against", this.about.x.map((one) => [one.key, one.label]), (key) => {
          this.x = this.about.x.find((one) => one.key === key);
          this.lines = this.series();
          this.rebuild();
          this.reset();
        }).whole);
      }
      const many = OF.filter(([key]) => this.columns[key]).map(([key, label]) => [key === "antenna1" ? "antenna" : key, label, this.antennas(key)])
        .filter(([, , values]) => values.length > 1);
      const colours = many.filter(([key]) => this.columns[key]);
      if (!colours.some(([key]) => key === this.by)) this.by = colours[0]?.[0] ?? null;
      if (colours.length > 1) bar.append(select("Colour by", colours.map(([key, label]) => [key, label]), (key) => { this.by = key; this.choose(); this.redraw(); }, this.by).whole);
      for (const [key, label, values] of many) {
        const choices = [["", "all"], ...values.map((one) => [one, this.nameOf(key, one)])];
        bar.append(select(label, choices, (value) => {
          this.wanted[key] = value === "" ? undefined : Number(value);
          this.choose();
          if (["field", "spw", "scan"].includes(key)) this.reset();
          else this.redraw();
        }).whole);
      }
      const box = make("input", { type: "checkbox", checked: true, onchange: () => { this.flags = box.checked; this.choose(); this.redraw(); } });
      if (this.columns.flagged && this.about.columns.flagged.all !== false) bar.append(make("label", {}, box, " flagged"));
      const zoom = (text, label, act) => make("button", { type: "button", "aria-label": label, onclick: act }, text);
      bar.append(zoom("−", "zoom out", () => this.zoom(1.5)), zoom("+", "zoom in", () => this.zoom(1 / 1.5)), zoom("all", "show all", () => this.reset()));
      return bar;
    }

    antennas(key) {
      if (key !== "antenna1") return this.valuesOf(key);
      return [...new Set([...this.valuesOf("antenna1"), ...this.valuesOf("antenna2")])].sort((a, b) => a - b);
    }

    rebuild() {
      const ranges = this.panels.map((panel) => panel.range);
      for (const panel of this.panels) panel.chart?.destroy();
      this.plots.replaceChildren();
      this.panels.forEach((panel, i) => {
        panel.range = ranges[i];
        panel.box = make("div", { class: "plot", tabindex: 0, role: "application", "aria-label": `${panel.y.label} of ${this.about.title}. ${KEYS}` });
        this.plots.append(panel.box);
        panel.chart = this.chart(panel);
        panel.box.addEventListener("keydown", (event) => this.keyed(panel, event));
        panel.box.addEventListener("wheel", (event) => this.wheel(panel, event), { passive: false });
      });
      this.colours();
    }

    chart(panel) {
      const time = this.x.key === "time";
      const { values, ...look } = casarun.axis();
      const xAxis = { ...look, label: this.label(this.x), labelSize: 20, size: 34, values: time ? (chart, ticks) => this.clocks(ticks) : values };
      return new uPlot({
        width: this.plots.clientWidth || 800, height: HEIGHT, legend: { show: false },
        tzDate: (ts) => uPlot.tzDate(new Date(ts * 1000), "Etc/UTC"),
        scales: { x: { time, range: () => this.xRange ?? [0, 1] }, y: { range: () => panel.range ?? [0, 1] } },
        axes: [xAxis, { ...look, values, label: this.label(panel.y), size: 64 }],
        series: [{}, { paths: () => null, points: { show: false } }],
        cursor: { drag: { x: true, y: true, setScale: false }, points: { show: false }, bind: this.mouse(panel) },
        hooks: { draw: [(chart) => this.draw(chart, panel)], setSelect: [(chart) => this.boxed(chart, panel)] },
      }, [[0, 1], [null, null]], panel.box);
    }

    label({ key, label, unit }) {
      if (key !== "time") return unit ? `${label} (${unit})` : label;
      return `${label}${this.xRange ? ` from ${new Date(this.xRange[0] * 1000).toISOString().slice(0, 10)}` : ""}`;
    }

    clocks(ticks) {
      const [low, high] = this.xRange ?? [0, 1];
      const seconds = high - low < 600;
      return ticks.map((tick) => {
        const [day, clock] = new Date(tick * 1000).toISOString().split("T");
        return (high - low > 86400 ? `${day.slice(5)} ` : "") + clock.slice(0, seconds ? 8 : 5);
      });
    }

    mouse(panel) {
      const over = (chart, target, handler) => (event) => {
        this.point(chart, panel, event);
        return handler(event);
      };
      return {
        dblclick: () => () => this.reset(),
        mousemove: over,
        mouseleave: (chart, target, handler) => (event) => { this.leave(); return handler(event); },
        mousedown: (chart, target, handler) => (event) => {
          panel.box.focus({ preventScroll: true });
          if (event.shiftKey) return this.startPan(chart, panel, event);
          this.pressed = [event.clientX, event.clientY];
          return handler(event);
        },
        mouseup: (chart, target, handler) => (event) => {
          if (this.pressed && Math.hypot(event.clientX - this.pressed[0], event.clientY - this.pressed[1]) < 3) this.pick();
          this.pressed = null;
          return handler(event);
        },
      };
    }

    // Which points, and their colours

    choose() {
      const wanted = Object.entries(this.wanted).filter(([, value]) => value !== undefined);
      const shown = [];
      for (let i = 0; i < this.number; i += 1) {
        if (!this.flags && this.columns.flagged?.get(i)) continue;
        if (wanted.every(([key, value]) => this.is(key, i, value))) shown.push(i);
      }
      this.shown = shown;
      this.lines = this.series();
      this.sort();
      this.colours();
      this.leave();
    }

    // In the order in which points are drawn: a change of colour takes longer than a point.
    sort() {
      const { flagged } = this.columns;
      const by = this.columns[this.by];
      const rank = (i) => (flagged?.get(i) ? -1 : by ? by.get(i) : 0);
      const ranks = new Float64Array(this.number);
      for (const i of this.shown) ranks[i] = rank(i);
      this.order = [...this.shown].sort((a, b) => ranks[a] - ranks[b] || a - b);
    }

    // Solutions to join: those of one antenna, feed and window, where lines would not cover all.
    series() {
      const { columns } = this;
      if (!columns.feed || this.shown.length > 20000) return [];
      const keys = ["antenna", "feed", "spw", this.x.key === "time" ? "channel" : "time"].filter((key) => columns[key]);
      const found = new Map();
      for (const i of this.shown) {
        if (columns.flagged?.get(i)) continue;
        const key = keys.map((one) => columns[one].get(i)).join(" ");
        if (!found.has(key)) found.set(key, []);
        found.get(key).push(i);
      }
      if (this.x.key === "time" && found.size > 80) return [];
      const x = columns[this.x.key];
      return [...found.values()].map((line) => line.sort((a, b) => x.get(a) - x.get(b)));
    }

    colours() {
      if (!this.by || !this.key) return;
      const values = this.valuesOf(this.by);
      const dark = matchMedia("(prefers-color-scheme: dark)").matches;
      const few = dark ? FEW_DARK : FEW;
      const ink = (i) => (values.length <= few.length ? few[i] : `hsl(${Math.round((360 * i) / values.length)} 65% ${dark ? 62 : 42}%)`);
      this.inks = new Map(values.map((value, i) => [value, ink(i)]));
      this.key.replaceChildren();
      if (values.length > 30) return;
      for (const [value, shade] of this.inks) {
        const mark = make("i");
        mark.style.background = shade;
        this.key.append(make("span", {}, mark, this.nameOf(this.by, value)));
      }
    }

    draw(chart, panel) {
      const { ctx, bbox } = chart;
      const { columns } = this;
      if (!this.shown) return;
      const [x, y] = [columns[this.x.key], columns[panel.y.key]];
      const ratio = devicePixelRatio || 1;
      const size = (this.shown.length > 20000 ? 2 : this.shown.length > 3000 ? 3 : 4) * ratio;
      const [left, right] = [chart.scales.x.min, chart.scales.x.max];
      const [low, high] = [chart.scales.y.min, chart.scales.y.max];
      const [wide, tall] = [bbox.width / (right - left), bbox.height / (high - low)];
      ctx.save();
      ctx.beginPath();
      ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
      ctx.clip();
      for (const line of this.lines) {
        ctx.globalAlpha = this.picked !== null && !this.is("antenna", line[0], this.picked) ? 0.06 : 0.35;
        ctx.strokeStyle = this.inks?.get(columns[this.by].get(line[0])) ?? FEW[0];
        ctx.lineWidth = ratio;
        ctx.beginPath();
        for (const i of line) ctx.lineTo(bbox.left + (x.get(i) - left) * wide, bbox.top + (high - y.get(i)) * tall);
        ctx.stroke();
      }
      const red = colour("fail");
      let last = null;
      for (const i of this.order) {
        const at = x.get(i);
        if (at < left || at > right) continue;
        const faint = this.picked !== null && !this.is("antenna", i, this.picked);
        ctx.globalAlpha = faint ? 0.12 : 0.85;
        const across = bbox.left + (at - left) * wide;
        if (columns.flagged?.get(i)) {
          if (last !== red) ctx.fillStyle = last = red;
          ctx.fillRect(across - ratio / 2, bbox.top + bbox.height - 7 * ratio, ratio, 6 * ratio);
          continue;
        }
        const value = y.get(i);
        if (value >= low && value <= high) {
          const ink = this.inks?.get(columns[this.by].get(i)) ?? FEW[0];
          if (last !== ink) ctx.fillStyle = last = ink;
          ctx.fillRect(across - size / 2, bbox.top + (high - value) * tall - size / 2, size, size);
        }
      }
      ctx.restore();
    }

    // Pointer

    nearest(chart, panel, left, top) {
      const { columns } = this;
      const [x, y] = [columns[this.x.key], columns[panel.y.key]];
      const foot = chart.over.clientHeight - 4;
      const { min, max } = chart.scales.x;
      const { min: low, max: high } = chart.scales.y;
      const [wide, tall] = [chart.over.clientWidth / (max - min), chart.over.clientHeight / (high - low)];
      let best = null;
      let least = NEAR;
      for (const i of this.shown) {
        const across = (x.get(i) - min) * wide;
        if (Math.abs(across - left) > least) continue;
        const down = columns.flagged?.get(i) ? foot : (high - y.get(i)) * tall;
        const far = Math.hypot(across - left, down - top);
        if (far < least && down >= 0 && down <= foot + 4) {
          least = far;
          best = { i, across, down };
        }
      }
      return best;
    }

    point(chart, panel, event) {
      const box = chart.over.getBoundingClientRect();
      const found = this.nearest(chart, panel, event.clientX - box.left, event.clientY - box.top);
      if (found) this.say(chart, panel, found);
      else this.leave();
    }

    say(chart, panel, { i, across, down }) {
      this.near = i;
      const { head, text } = this.describe(i, panel.y);
      this.value.replaceChildren(make("b", {}, head), `: ${text}`);
      this.value.dataset.index = i;
      this.tip.replaceChildren(make("b", {}, head), make("br"), text);
      this.tip.hidden = false;
      chart.over.append(this.ring, this.tip);
      [this.ring.style.left, this.ring.style.top] = [`${across}px`, `${down}px`];
      const right = across > chart.over.clientWidth / 2;
      Object.assign(this.tip.style, {
        left: right ? "auto" : `${across + 12}px`,
        right: right ? `${chart.over.clientWidth - across + 12}px` : "auto",
        top: `${Math.max(0, Math.min(chart.over.clientHeight - 60, down - 26))}px`,
      });
    }

    leave() {
      this.near = null;
      this.tip.remove();
      this.ring.remove();
    }

    pick() {
      if (this.near === null) this.picked = null;
      else {
        const antenna = (this.columns.antenna ?? this.columns.antenna1).get(this.near);
        this.picked = this.picked === antenna ? null : antenna;
      }
      this.redraw();
    }

    // Next point to the right or left of the one that is read, and in view.
    step(panel, by) {
      const { min, max } = panel.chart.scales.x;
      const { min: low, max: high } = panel.chart.scales.y;
      const [x, y] = [this.columns[this.x.key], this.columns[panel.y.key]];
      const inView = this.shown.filter((i) => x.get(i) >= min && x.get(i) <= max && (this.columns.flagged?.get(i) || (y.get(i) >= low && y.get(i) <= high)));
      if (!inView.length) return;
      inView.sort((a, b) => x.get(a) - x.get(b) || y.get(a) - y.get(b));
      const from = inView.indexOf(this.near);
      const i = inView[from < 0 ? (by > 0 ? 0 : inView.length - 1) : Math.min(inView.length - 1, Math.max(0, from + by))];
      const { chart } = panel;
      const down = this.columns.flagged?.get(i) ? chart.over.clientHeight - 4 : chart.valToPos(y.get(i), "y");
      this.say(chart, panel, { i, across: chart.valToPos(x.get(i), "x"), down });
    }

    // Ranges: those of all points that are chosen

    reset() {
      const of = (key, good) => {
        const column = this.columns[key];
        let [low, high] = [Infinity, -Infinity];
        for (const i of this.shown) {
          if (!good(i)) continue;
          const value = column.get(i);
          if (value < low) low = value;
          if (value > high) high = value;
        }
        if (low > high) return [0, 1];
        const margin = (high - low) * 0.05 || Math.abs(high) * 0.05 || 1;
        return [low - margin, high + margin];
      };
      this.xRange = of(this.x.key, () => true);
      for (const panel of this.panels) {
        panel.range = of(panel.y.key, (i) => !this.columns.flagged?.get(i));
        if (panel.y.unit === "deg" && panel.range[1] - panel.range[0] > 250) panel.range = [-190, 190];
      }
      this.redraw();
    }

    redraw() {
      this.leave();
      for (const { chart } of this.panels) {
        if (chart) chart.axes[0].label = this.label(this.x);
        chart?.setData([this.xRange ?? [0, 1], [null, null]]);
      }
    }

    resize() {
      const width = this.plots.clientWidth;
      if (width) for (const { chart } of this.panels) if (chart.width !== width) chart.setSize({ width, height: HEIGHT });
    }

    boxed(chart, panel) {
      const { left, top, width, height } = chart.select;
      if (width < 4 && height < 4) return;
      const x = width >= 4 ? [left, left + width].map((at) => chart.posToVal(at, "x")) : this.xRange;
      const y = height >= 4 ? [top + height, top].map((at) => chart.posToVal(at, "y")) : panel.range;
      chart.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
      this.xRange = x;
      panel.range = y;
      this.redraw();
    }

    zoom(factor, panel = null, at = [0.5, 0.5]) {
      const scaled = ([low, high], share) => {
        const fixed = low + (high - low) * share;
        return [fixed + (low - fixed) * factor, fixed + (high - fixed) * factor];
      };
      this.xRange = scaled(this.xRange, at[0]);
      for (const one of this.panels) if (!panel || one === panel) one.range = scaled(one.range, at[1]);
      this.redraw();
    }

    move(panel, dx, dy) {
      const moved = ([low, high], share) => [low + (high - low) * share, high + (high - low) * share];
      this.xRange = moved(this.xRange, dx);
      panel.range = moved(panel.range, dy);
      this.redraw();
    }

    startPan(chart, panel, start) {
      const [x, y] = [this.xRange, panel.range];
      const { clientWidth, clientHeight } = chart.over;
      const move = (event) => {
        [this.xRange, panel.range] = [x, y];
        this.move(panel, (start.clientX - event.clientX) / clientWidth, (event.clientY - start.clientY) / clientHeight);
      };
      document.addEventListener("mousemove", move);
      document.addEventListener("mouseup", () => document.removeEventListener("mousemove", move), { once: true });
    }

    wheel(panel, event) {
      if (document.activeElement !== panel.box && !event.ctrlKey) return;
      event.preventDefault();
      const box = panel.chart.over.getBoundingClientRect();
      const at = [(event.clientX - box.left) / box.width, 1 - (event.clientY - box.top) / box.height];
      this.zoom(1.2 ** Math.sign(event.deltaY), panel, at);
    }

    keyed(panel, event) {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const acts = {
        ArrowLeft: () => this.move(panel, -0.1, 0), ArrowRight: () => this.move(panel, 0.1, 0),
        ArrowUp: () => this.move(panel, 0, 0.1), ArrowDown: () => this.move(panel, 0, -0.1),
        "+": () => this.zoom(1 / 1.5, panel), "=": () => this.zoom(1 / 1.5, panel), "-": () => this.zoom(1.5, panel),
        0: () => this.reset(), n: () => this.step(panel, 1), p: () => this.step(panel, -1),
      };
      const act = acts[event.key] ?? acts[event.key.toLowerCase()];
      if (!act) return;
      event.preventDefault();
      act();
    }
  }

  casarun.viewers.points = (place, about) => {
    const viewer = new PointViewer(place, about);
    place.viewer = viewer;
    viewer.start();
  };
})();
