// The map: points that the server sends as bytes, drawn pixel by pixel so that a hundred thousand are one picture.
"use strict";

const BYTES = 5, REACH = 4095.5, TASK = 4095, DUPLICATE = 4096, MISLABELLED = 8192, NONE = 16384;
const LAYERS = { duplicates: DUPLICATE, mislabelled: MISLABELLED, uncovered: NONE };
const canvas = document.getElementById("map");

function colour(number) {  // red, green and blue; turns of the golden angle lie far from each other
  const hue = number * 137.508, light = number % 2 ? 0.45 : 0.6, most = 0.6 * Math.min(light, 1 - light);
  return [0, 8, 4].map((turn) => {
    const place = (turn + hue / 30) % 12;
    return Math.round(255 * (light - most * Math.max(-1, Math.min(place - 3, 9 - place, 1))));
  });
}

async function mapped() {
  const told = await fetch(canvas.dataset.points);
  if (!told.ok) throw new Error(`the points did not come: ${told.status}`);
  return decoded(new DataView(await told.arrayBuffer()));
}

function decoded(bytes) {  // as shares of the reach, from -1 to 1; and task and layers
  const count = bytes.byteLength / BYTES;
  const points = { count, x: new Float32Array(count), y: new Float32Array(count), flags: new Uint16Array(count) };
  for (let number = 0; number < count; number += 1) {
    const high = bytes.getUint32(number * BYTES), low = bytes.getUint8(number * BYTES + 4);
    points.x[number] = (high >>> 19) / REACH - 1;
    points.y[number] = (high >>> 6 & 8191) / REACH - 1;
    points.flags[number] = (high & 63) << 8 | low;
  }
  return points;
}

function drawing(points) {
  const pen = canvas.getContext("2d"), form = document.getElementById("choice"), inside = document.getElementById("inside");
  const view = { x: 0, y: 0, scale: 1 }, families = [];
  let lasso = null, shown = null;
  for (const row of document.querySelectorAll("tr[data-number]")) {
    families[Number(row.dataset.number)] = Number(row.dataset.family);
  }
  const width = () => canvas.width, height = () => canvas.height, unit = () => 0.48 * Math.min(width(), height()) * view.scale;
  const across = (x) => width() / 2 + (x - view.x) * unit(), down = (y) => height() / 2 - (y - view.y) * unit();
  const back = (event) => {
    const edge = canvas.getBoundingClientRect();
    return [(event.clientX - edge.left - width() / 2) / unit() + view.x, (height() / 2 - event.clientY + edge.top) / unit() + view.y];
  };

  function draw() {
    if (!width() || !height()) return;  // it is not shown
    const began = performance.now(), ink = getComputedStyle(canvas);
    const picture = pen.createImageData(width(), height()), cells = new Uint32Array(picture.data.buffer);
    const byFamily = document.getElementById("colours").value === "family";
    const palette = families.map((family, number) => {
      const [red, green, blue] = colour(byFamily ? family : number);
      return (255 << 24 | blue << 16 | green << 8 | red) >>> 0;
    });
    const task = document.getElementById("task").selectedIndex - 1, needed = LAYERS[document.getElementById("layer").value] ?? 0;
    const faint = 0x40808080;
    for (const bright of [false, true]) {
      for (let at = 0; at < points.count; at += 1) {
        const flags = points.flags[at], number = flags & TASK;
        const wanted = (task < 0 || task === number) && (!needed || (flags & needed) !== 0);
        if (wanted !== bright) continue;
        const x = across(points.x[at]) | 0, y = down(points.y[at]) | 0;
        if (x < 0 || y < 0 || x >= width() - 1 || y >= height() - 1) continue;
        const cell = y * width() + x, ink = bright ? palette[number] : faint;
        cells[cell] = cells[cell + 1] = cells[cell + width()] = cells[cell + width() + 1] = ink;
      }
    }
    pen.putImageData(picture, 0, 0);
    for (const row of document.querySelectorAll("tr[data-place]")) star(row, ink);
    for (const row of document.querySelectorAll("tr[data-region]")) circle(row, ink);
    if (lasso) outline(lasso, ink.color);
    else if (inside.value) outline(inside.value.split(",").map(Number), ink.color);
    canvas.dataset.milliseconds = (performance.now() - began).toFixed(1);
  }

  function star(row, ink) {
    const [x, y] = row.dataset.place.split(",").map(Number);
    pen.strokeStyle = "out" in row.dataset ? ink.outlineColor : ink.color;
    pen.lineWidth = row === shown ? 3 : 1.5;
    pen.beginPath();
    if (row === shown) {
      for (const one of row.dataset.near.split(" ").filter(Boolean)) {
        const [there, high] = one.split(",").map(Number);
        pen.moveTo(across(x), down(y));
        pen.lineTo(across(there), down(high));
      }
    }
    for (const [right, up] of [[5, 0], [0, 5], [3.5, 3.5], [3.5, -3.5]]) {
      pen.moveTo(across(x) - right, down(y) - up);
      pen.lineTo(across(x) + right, down(y) + up);
    }
    pen.stroke();
  }

  function circle(row, ink) {
    const [x, y, radius] = row.dataset.region.split(",").map(Number);
    pen.strokeStyle = ink.outlineColor;
    pen.lineWidth = 2;
    pen.setLineDash([6, 4]);
    pen.beginPath();
    pen.arc(across(x), down(y), Math.max(radius * unit(), 9), 0, 2 * Math.PI);
    pen.stroke();
    pen.setLineDash([]);
  }

  function outline(corners, ink) {
    pen.strokeStyle = ink;
    pen.lineWidth = 2;
    pen.beginPath();
    for (let at = 0; at < corners.length; at += 2) pen.lineTo(across(corners[at]), down(corners[at + 1]));
    pen.closePath();
    pen.stroke();
  }

  function choose(corners) {
    const most = 200, step = Math.max(1, Math.ceil(corners.length / 2 / most)), told = [];
    for (let at = 0; at < corners.length; at += 2 * step) {
      told.push(...corners.slice(at, at + 2).map((one) => Math.max(-2, Math.min(2, one)).toFixed(3)));
    }
    inside.value = told.join(",");
    form.dispatchEvent(new Event("change"));
  }

  const KEYS = { ArrowLeft: [-0.2, 0, 1], ArrowRight: [0.2, 0, 1], ArrowUp: [0, 0.2, 1], ArrowDown: [0, -0.2, 1], "+": [0, 0, 1.5], "=": [0, 0, 1.5], "-": [0, 0, 1 / 1.5] };
  canvas.addEventListener("keydown", (event) => {
    if (event.key in KEYS) {
      const [right, up, nearer] = KEYS[event.key];
      view.x += right / view.scale;
      view.y += up / view.scale;
      view.scale = Math.max(0.5, Math.min(view.scale * nearer, 32));
    } else if (event.key === "Enter") {
      const w = width() / 2 / unit(), h = height() / 2 / unit();
      choose([view.x - w, view.y - h, view.x + w, view.y - h, view.x + w, view.y + h, view.x - w, view.y + h]);
    } else if (event.key === "Escape") choose([]);
    else return;
    event.preventDefault();
    draw();
  });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const before = back(event);
    view.scale = Math.max(0.5, Math.min(view.scale * (event.deltaY < 0 ? 1.2 : 1 / 1.2), 32));
    const after = back(event);
    view.x += before[0] - after[0];
    view.y += before[1] - after[1];
    draw();
  }, { passive: false });
  canvas.addEventListener("pointerdown", (event) => { lasso = back(event); canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointermove", (event) => { if (lasso) { lasso.push(...back(event)); draw(); } });
  canvas.addEventListener("pointerup", () => {
    const corners = lasso;
    lasso = null;
    choose(corners && corners.length >= 6 ? corners : []);
    draw();
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button.show");
    if (!button) return;
    shown = shown === button.closest("tr") ? null : button.closest("tr");
    for (const one of document.querySelectorAll("button.show")) one.setAttribute("aria-pressed", String(shown?.contains(one) ?? false));
    draw();
  });
  const fitted = () => {
    canvas.width = canvas.clientWidth;
    canvas.height = canvas.clientHeight;
    draw();
    painted();
  };
  function painted() {  // swatches, and buttons of a table that came anew
    for (const one of document.querySelectorAll(".only-drawn")) one.hidden = false;
    for (const row of document.querySelectorAll("tr[data-number]")) {
      const by = document.getElementById("colours").value === "family" ? row.dataset.family : row.dataset.number;
      row.querySelector("circle").setAttribute("fill", `rgb(${colour(Number(by)).join(",")})`);
    }
  }
  form.addEventListener("change", fitted);
  new MutationObserver(fitted).observe(document.querySelector("main"), { childList: true });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  window.addEventListener("resize", fitted);
  for (const one of document.querySelectorAll(".only-drawn")) one.hidden = false;
  fitted();
  const count = new Intl.NumberFormat().format(points.count);
  document.getElementById("drawn").textContent = `${count} examples are drawn.`;
  performance.mark("drawn");  // the benchmark reads it
}

function missing() {  // the tables hold the same
  const told = document.getElementById("drawn");
  told.textContent = "The points did not come, so that nothing is drawn. Load the page anew.";
  told.parentElement.hidden = false;
  canvas.hidden = true;
  document.getElementById("how").hidden = true;
}

// Another encoder is another map: its points, its tasks, and no shape that was drawn on this one.
document.getElementById("encoder")?.addEventListener("change", (event) => {
  event.stopPropagation();
  document.getElementById("inside").value = "";
  document.getElementById("choice").submit();
});

if (canvas) mapped().then(drawing, missing);
