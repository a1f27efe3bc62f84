"use strict";
// What the viewers share: elements, colours of the page, numbers in words.
(() => {
  const PREFIXES = [[1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""], [1e-3, "m"], [1e-6, "µ"], [1e-9, "n"]];

  // Text from data only ever becomes text: nothing here parses markup.
  function make(tag, about = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(about)) {
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else if (value === true) made.setAttribute(name, "");
      else if (value !== false && value !== null) made.setAttribute(name, value);
    }
    made.append(...children);
    return made;
  }

  function select(label, choices, onchange, chosen) {
    const list = make("select", { onchange: () => onchange(list.value) });
    for (const [value, text] of choices) list.append(make("option", { value }, text));
    if (chosen !== undefined) list.value = chosen;
    return { list, whole: make("label", {}, `${label} `, list) };
  }

  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  }

  function onThemeChange(redraw) {
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  }

  function significant(value, digits = 4) {
    if (value === 0) return "0";
    return String(Number(value.toPrecision(digits)));
  }

  function prefixed(value, unit, like = value) {
    const size = Math.abs(like);
    const [factor, prefix] = (unit.startsWith("Jy") && PREFIXES.find(([one]) => size >= one)) || [1, ""];
    return `${significant(value / factor)} ${prefix}${unit}`.trim();
  }

  // What the axes of all plots have in common.
  function axis() {
    return {
      stroke: colour("soft"),
      grid: { stroke: colour("line"), width: 1 },
      ticks: { stroke: colour("line"), width: 1 },
      values: (chart, ticks) => ticks.map((tick) => significant(tick, 8)),
    };
  }

  function bytes(text) {
    const raw = atob(text);
    const made = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i += 1) made[i] = raw.charCodeAt(i);
    return made.buffer;
  }

  Object.assign(casarun, { make, select, colour, onThemeChange, significant, prefixed, axis, bytes });
})();
