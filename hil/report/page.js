(function () {
  "use strict";
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const narrow = window.matchMedia("(max-width: 760px)").matches;
  const drawn = new Set();
  let syncing = false;

  function colors() {
    const style = getComputedStyle(document.documentElement);
    const get = (name) => style.getPropertyValue(name).trim();
    return { ink: get("--ink"), grid: get("--grid"), line: get("--line"), card: get("--card") };
  }

  // Colours of text and grid are those of the page; signals keep their own.
  function theme(layout) {
    const c = colors(), out = { "font.color": c.ink, "hoverlabel.bgcolor": c.card, "hoverlabel.font.color": c.ink, "hoverlabel.bordercolor": c.line };
    for (const key of Object.keys(layout)) {
      if (/^[xy]axis/.test(key)) { out[key + ".gridcolor"] = c.grid; out[key + ".linecolor"] = c.line; }
    }
    if (layout.scene) for (const axis of ["xaxis", "yaxis", "zaxis"]) { out["scene." + axis + ".gridcolor"] = c.line; out["scene." + axis + ".color"] = c.ink; }
    return out;
  }

  function put(target, path, value) {
    const keys = path.split(".");
    while (keys.length > 1) { const k = keys.shift(); target = target[k] = target[k] || {}; }
    target[keys[0]] = value;
  }

  // Zooming one time axis zooms all of them.
  function follow(from, change) {
    if (syncing) return;
    const whole = change["xaxis.autorange"] === true;
    const a = change["xaxis.range[0]"], b = change["xaxis.range[1]"];
    if (!whole && (a === undefined || b === undefined)) return;
    syncing = true;
    const jobs = [];
    for (const id in figures) {
      const figure = figures[id];
      if (!figure.time) continue;
      const range = whole ? figure.full.slice() : [a, b];
      figure.layout.xaxis.range = range;
      const div = document.getElementById(id);
      if (drawn.has(id) && (div !== from || whole)) jobs.push(Plotly.relayout(div, { "xaxis.range": range }));
    }
    Promise.all(jobs).finally(function () { syncing = false; });
  }

  function draw(div) {
    if (drawn.has(div.id)) return;
    drawn.add(div.id);
    const figure = figures[div.id], layout = figure.layout;
    const look = theme(layout);
    for (const path in look) put(layout, path, look[path]);
    layout.font.family = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'DejaVu Sans', sans-serif";
    layout.paper_bgcolor = layout.plot_bgcolor = "rgba(0,0,0,0)";
    layout.modebar = { bgcolor: "rgba(0,0,0,0)", color: "rgba(128,138,148,0.7)", activecolor: "#3a86d1" };
    if (narrow) layout.dragmode = false;
    const config = { responsive: true, displaylogo: false, displayModeBar: narrow ? false : "hover", modeBarButtonsToRemove: ["lasso2d", "select2d"] };
    Plotly.newPlot(div, figure.data, layout, config).then(function () {
      if (figure.time) div.on("plotly_relayout", function (change) { follow(div, change); });
    });
  }

  const plots = Array.from(document.querySelectorAll(".plot"));
  for (const id in figures) if (figures[id].time) figures[id].full = figures[id].layout.xaxis.range.slice();
  if ("IntersectionObserver" in window) {
    const seen = new IntersectionObserver(function (entries) {
      for (const e of entries) if (e.isIntersecting) { draw(e.target); seen.unobserve(e.target); }
    }, { rootMargin: "800px" });
    plots.forEach(function (p) { seen.observe(p); });
  } else plots.forEach(draw);
  window.addEventListener("beforeprint", function () { plots.forEach(draw); });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", function () {
    for (const id of drawn) Plotly.relayout(document.getElementById(id), theme(figures[id].layout));
  });
})();
