
"use strict";
// Comfort only: the page says everything without it.
const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));

for (const table of all("table[data-filter]")) {
  const rows = all("tbody > tr", table);
  if (rows.length < 8) continue;
  const input = document.createElement("input");
  input.type = "search";
  input.className = "filter";
  input.placeholder = input.ariaLabel = table.dataset.filter;
  input.addEventListener("input", () => {
    const wanted = input.value.toLowerCase().split(/\s+/);
    for (const row of rows) {
      const said = row.textContent.toLowerCase();
      row.hidden = !wanted.every((word) => said.includes(word));
    }
  });
  table.parentElement.before(input);
}

const reveal = () => {
  const found = location.hash && document.getElementById(location.hash.slice(1));
  if (found instanceof HTMLDetailsElement) found.open = true;
};
window.addEventListener("hashchange", reveal);
reveal();
for (const link of all('a[href^="#t"]')) link.addEventListener("click", () => setTimeout(reveal));

let closed = [];
window.addEventListener("beforeprint", () => {
  closed = all("details:not([open])");
  for (const each of closed) each.open = true;
});
window.addEventListener("afterprint", () => {
  for (const each of closed) each.open = false;
});

const SHAPE = ["x", "y", "width", "height"];
const sayingOf = (group) => group.querySelector("title").textContent;
const shapeOf = (rect) => SHAPE.map((name) => Number(rect.getAttribute(name)));
const setShape = (rect, shape) => SHAPE.forEach((name, at) => rect.setAttribute(name, shape[at].toFixed(1)));

function write(group, kind, text, x, y) {
  let element = group.querySelector(`:scope > text${kind ? "." + kind : ":not([class])"}`);
  if (!element) {
    element = document.createElementNS("http://www.w3.org/2000/svg", "text");
    if (kind) element.setAttribute("class", kind);
    group.append(element);
  }
  element.setAttribute("x", x.toFixed(1));
  element.setAttribute("y", y.toFixed(1));
  element.textContent = text;
}

function fitting(text, room) {
  const bare = () => text.replace(/^…\//, "");
  while (text.length > room && bare().includes("/")) text = "…/" + bare().slice(bare().indexOf("/") + 1);
  if (text.length > room) text = bare();
  return text.length <= room ? text : text.slice(0, room - 1) + "…";
}

function draw(group, kind, shape, named) {
  const [x, y, width, height] = shape;
  setShape(group.querySelector(":scope > rect"), shape);
  const { name, size } = group.dataset;
  const room = Math.floor((width - 8) / (kind ? 7.2 : 6.3));
  const fits = named && height >= 15 && room >= 3;
  write(group, kind, fits ? fitting(name, room) : "", x + (kind ? 5 : 4), y + (kind ? 14 : 12));
  if (kind) return;
  write(group, "detail", fits && height >= 34 && size.length <= room ? size : "", x + 4, y + 26);
}

for (const figure of all(".map")) {
  const svg = figure.querySelector("svg");
  const [, , wide, high] = svg.getAttribute("viewBox").split(" ").map(Number);
  const blocks = all(".block", svg).map((group) => ({
    group,
    shape: shapeOf(group.querySelector(":scope > rect")),
    cells: all(".cell", group).map((cell) => ({ cell, shape: shapeOf(cell.querySelector("rect")) })),
  }));
  const readout = document.createElement("p");
  readout.className = "readout";
  readout.setAttribute("aria-live", "polite");
  const idle = "Point at a package for its size; choose a module to enlarge it.";
  svg.after(readout);
  svg.classList.add("zoomable");
  let near = null;

  const show = (block) => {
    near = block;
    svg.classList.toggle("zoomed", Boolean(block));
    for (const each of blocks) {
      each.group.style.display = !block || each === block ? "" : "none";
      const [x0, y0, width, height] = each.shape;
      const head = Number(each.group.dataset.head);
      const across = block ? wide / width : 1;
      const down = block ? (high - 20) / Math.max(height - head, 1) : 1;
      draw(each.group, "head", block ? [0, 0, wide, high] : each.shape, Boolean(block) || head > 10);
      for (const { cell, shape: [x, y, w, h] } of each.cells) {
        const place = block ? [(x - x0) * across, 20 + (y - y0 - head) * down] : [x, y];
        draw(cell, "", [...place, w * across, h * down], true);
      }
    }
    rest();
  };
  const rest = () => {
    readout.textContent = near ? `${sayingOf(near.group)}. ` : idle;
    if (!near) return;
    const back = document.createElement("button");
    back.type = "button";
    back.className = "back";
    back.textContent = "Back to the whole program";
    back.addEventListener("click", () => show(null));
    readout.append(back);
  };

  for (const block of blocks) {
    block.group.setAttribute("tabindex", "0");
    block.group.setAttribute("role", "button");
    block.group.setAttribute("aria-label", sayingOf(block.group));
    const toggle = () => show(near ? null : block);
    block.group.addEventListener("click", toggle);
    block.group.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); toggle(); }
      if (event.key === "Escape") show(null);
    });
  }
  svg.setAttribute("role", "group");
  svg.addEventListener("mouseover", (event) => {
    const cell = event.target.closest(".cell");
    if (cell) readout.textContent = sayingOf(cell);
  });
  svg.addEventListener("mouseleave", rest);
  rest();
}
