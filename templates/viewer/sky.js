"use strict";
// From pixels to the sky: zenithal projections, as FITS defines them (Calabretta & Greisen 2002).
(() => {
  const RAD = Math.PI / 180;
  const DISTANCE = {
    SIN: Math.asin,
    TAN: Math.atan,
    ARC: (rho) => rho,
    ZEA: (rho) => 2 * Math.asin(rho / 2),
    STG: (rho) => 2 * Math.atan(rho / 2),
  };

  // Longitude and latitude in degrees of a pixel (from 0); null off the sky or where not known.
  function world(about, x, y) {
    const distance = DISTANCE[about.projection];
    if (!distance || about.parameters.some((one) => one !== 0)) return null;
    const [l0, m0] = [x, y].map((at, i) => (at - about.reference_pixel[i]) * about.increment_deg[i] * RAD);
    const rho = Math.hypot(l0, m0);
    const theta = distance(rho);
    if (!Number.isFinite(theta)) return null;
    const share = rho ? Math.sin(theta) / rho : 1;
    const [l, m, n] = [l0 * share, m0 * share, Math.cos(theta)];
    const [lon, lat] = about.reference_deg.map((one) => one * RAD);
    const found = lon + Math.atan2(l, n * Math.cos(lat) - m * Math.sin(lat));
    const height = Math.asin(Math.min(1, Math.max(-1, m * Math.cos(lat) + n * Math.sin(lat))));
    return [((found / RAD) % 360 + 360) % 360, height / RAD];
  }

  function sexagesimal(value, digits) {
    const unit = 10 ** digits;
    const total = Math.round(Math.abs(value) * 3600 * unit);
    const whole = Math.floor(total / unit);
    const two = (number) => String(number).padStart(2, "0");
    const seconds = ((total - whole * unit) / unit + whole % 60).toFixed(digits);
    return `${two(Math.floor(whole / 3600))}:${two(Math.floor(whole / 60) % 60)}:${seconds.padStart(digits ? digits + 3 : 2, "0")}`;
  }

  function text(about, position) {
    if (!position) return `no coordinates (projection ${about.projection})`;
    const digits = Math.max(0, Math.ceil(1 - Math.log10(Math.abs(about.increment_deg[1]) * 3600)));
    const [lon, lat] = position;
    if (/GALACTIC|ECLIPTIC/.test(about.frame)) {
      return `${lon.toFixed(digits + 3)}° ${lat.toFixed(digits + 3)}° ${about.frame}`;
    }
    const right = sexagesimal((lon / 15) % 24, digits + 1);
    return `${right} ${lat < 0 ? "−" : "+"}${sexagesimal(lat, digits)} ${about.frame}`;
  }

  casarun.sky = { world, text };
})();
