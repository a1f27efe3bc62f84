"use strict";
// Loads a viewer, and the data that it shows, when its section is opened; nothing before. A page
// from disk may not read other files, but load them as scripts: data hand themselves to take().
(() => {
  const PARTS = {
    image: ["uPlot.js", "page.js", "sky.js", "pixels.js", "image.js"],
    points: ["uPlot.js", "page.js", "points.js"],
  };
  const taken = new Map();
  const loading = new Map();

  function load(address) {
    if (!loading.has(address)) {
      loading.set(address, new Promise((resolve, reject) => {
        const script = document.createElement("script");
        script.async = false;
        script.onload = () => {
          resolve(taken.get(script));
          taken.delete(script);
          script.remove();
        };
        script.onerror = () => {
          loading.delete(address);
          script.remove();
          reject(new Error(`${decodeURIComponent(address)} cannot be read.`));
        };
        script.src = address;
        document.head.append(script);
      }));
    }
    return loading.get(address);
  }

  async function start(section) {
    const { viewer, src } = section.dataset;
    const place = section.querySelector(".viewer");
    place.textContent = "Loading …";
    try {
      const [about] = await Promise.all([src, ...PARTS[viewer].map((part) => `viewer/${part}`)].map(load));
      if (!about) throw new Error(`${decodeURIComponent(src)} holds no data.`);
      place.textContent = "";
      await casarun.viewers[viewer](place, about, src.replace(/[^/]*$/, ""));
    } catch (error) {
      place.textContent = `Not shown. ${error.message}`;
      place.classList.add("missing");
    }
  }

  window.casarun = {
    viewers: {},
    load,
    take(content) { taken.set(document.currentScript, content); },
  };
  const again_s = Number(document.documentElement.dataset.again);
  if (again_s) {
    setInterval(() => {
      if (!document.querySelector("details.closer[open]")) location.reload();
    }, again_s * 1000);
  }
  for (const section of document.querySelectorAll("details.closer")) {
    section.hidden = false;
    section.addEventListener("toggle", () => {
      if (!section.open || section.dataset.started) return;
      section.dataset.started = "yes";
      start(section);
    });
  }
})();
