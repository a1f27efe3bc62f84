"use strict";
// Narrows the logs to the lines that have all words. Without it the page shows them whole.
const form = document.getElementById("find");
const steps = [...document.querySelectorAll("#logs details")].map((box) => {
  const pre = box.querySelector("pre");
  const lines = pre.textContent.split("\n").filter(Boolean);
  return { box, pre, lines, lower: lines.map((line) => line.toLowerCase()), count: box.querySelector(".count") };
});
const narrow = () => {
  const words = form.elements.words.value.toLowerCase().split(/\s+/).filter(Boolean);
  const warnings = form.elements.warnings.checked;
  const asked = words.length > 0 || warnings;
  let found = 0;
  for (const { box, pre, lines, lower, count } of steps) {
    const kept = lines.filter((line, n) =>
      words.every((word) => lower[n].includes(word)) && (!warnings || /\b(WARN|SEVERE)\b/.test(line)));
    found += kept.length;
    pre.textContent = kept.join("\n");
    count.textContent = asked ? `${kept.length} of ${lines.length} lines` : `${lines.length} lines`;
    box.hidden = asked && kept.length === 0;
    box.open = asked ? kept.length > 0 : box.open && !form.dataset.asked;
  }
  form.dataset.asked = asked ? "yes" : "";
  form.querySelector("output").textContent = asked ? `${found} lines` : "";
};
form.hidden = false;
form.addEventListener("input", narrow);
form.addEventListener("submit", (event) => event.preventDefault());
narrow();
