// What the pages gain with a script: numbers and times as the reader writes them, and buttons that copy.
"use strict";

const written = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

// Making a format is slow, and a page has hundreds of numbers.
const formats = new Map();

function formatted(value, digits) {
  if (!formats.has(digits)) {
    const told = { minimumFractionDigits: digits, maximumFractionDigits: digits };
    formats.set(digits, new Intl.NumberFormat(undefined, told));
  }
  return formats.get(digits).format(value);
}

function localized(root) {
  for (const one of root.querySelectorAll("time[datetime]")) {
    one.title = one.textContent;
    one.textContent = written.format(new Date(one.dateTime));
  }
  for (const one of root.querySelectorAll("data.number")) {
    one.textContent = formatted(Number(one.value), Number(one.dataset.digits));
  }
}

function copying(root) {
  for (const button of root.querySelectorAll("button.copy")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const told = document.getElementById("copied");
      try {
        await navigator.clipboard.writeText(document.getElementById(button.dataset.copies).textContent);
        told.textContent = "Copied.";
      } catch {
        told.textContent = "The browser does not allow copying here; select the text instead.";
      }
    });
  }
}

localized(document);
copying(document);

const PAUSE = 100;  // milliseconds between two questions where the steps of a slider are faster than the answers

function outdated(part) {  // what stands there is of other settings than those above it
  if (part.querySelector(".outdated")) return;
  const told = document.createElement("p");
  Object.assign(told, { className: "bad outdated", role: "alert" });
  told.textContent = "This is not up to date: the server could not be reached. Change a setting again, or load the page anew.";
  part.prepend(told);
}

// Sliders beside numbers; a part of the page follows them without the rest being loaded anew.
function sliding(form) {
  const place = () => document.getElementById(form.dataset.replaces);
  let asking = new AbortController(), wanted, waiting, asked = -PAUSE, busy = false;
  function follow() {  // what was asked before is not wanted any more, and each request counts among those of a key
    const address = `${form.action}?${new URLSearchParams(new FormData(form))}`;
    if (address === wanted) return;  // a slider that is let go changes nothing
    wanted = address;
    asking.abort();
    asking = new AbortController();
    clearTimeout(waiting);
    waiting = setTimeout(shown, busy ? asked + PAUSE - performance.now() : 0, address, asking.signal);
  }
  async function shown(address, signal) {
    let page;
    asked = performance.now();
    busy = true;
    try {
      const told = await fetch(address, { signal });
      page = new DOMParser().parseFromString(await told.text(), "text/html");
    } catch {
      page = null;
    }
    if (signal.aborted) return;
    busy = false;
    const part = page?.getElementById(form.dataset.replaces) ?? page?.querySelector("main .card");
    if (!part) {
      wanted = null;
      outdated(place());
      return;
    }
    part.id = form.dataset.replaces;
    localized(part);
    place().replaceWith(document.importNode(part, true));
    history.replaceState(null, "", address);
  }
  for (const number of form.querySelectorAll("input[data-slides]")) {
    const [least, most, step] = number.dataset.slides.split(" ").map(Number);
    const slider = document.createElement("input");
    Object.assign(slider, { type: "range", min: least, max: Math.max(most, number.value), step });
    slider.value = number.value;
    slider.setAttribute("aria-label", `${number.name}, as a slider`);
    slider.addEventListener("input", () => { number.value = slider.value; follow(); });
    number.addEventListener("input", () => { slider.value = number.value; });
    number.after(slider);
  }
  form.addEventListener("change", follow);
  form.addEventListener("submit", (event) => {
    if (event.submitter?.hasAttribute("formaction")) return;  // it goes elsewhere
    event.preventDefault();
    wanted = null;
    follow();
  });
}

for (const form of document.querySelectorAll("form[data-replaces]")) sliding(form);
