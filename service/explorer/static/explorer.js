// What the pages gain with a script: numbers and times as the reader writes them, and buttons that copy.
"use strict";

const written = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

function localized(root) {
  for (const one of root.querySelectorAll("time[datetime]")) {
    one.title = one.textContent;
    one.textContent = written.format(new Date(one.dateTime));
  }
  for (const one of root.querySelectorAll("data.number")) {
    const digits = Number(one.dataset.digits);
    const told = { minimumFractionDigits: digits, maximumFractionDigits: digits };
    one.textContent = new Intl.NumberFormat(undefined, told).format(Number(one.value));
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
