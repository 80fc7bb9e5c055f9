// Answers as they are written; once all are there, the page is made anew, with what compares and rates them.
"use strict";

// What cannot be seen, or changes the direction of writing, as its escape: the pages of the server do the same.
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;
const escaped = (text) => text.replace(UNSEEN, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`);

function listening(place) {
  return new Promise((done) => {
    const source = new EventSource(place.dataset.stream);
    const ended = () => { source.close(); done(); };
    source.onmessage = (event) => {
      if (event.data === "[DONE]") return ended();
      const told = JSON.parse(event.data);
      if (told.piece) place.append(escaped(told.piece));
      if (told.answer_id) ended();
    };
    // What was refused is over, and the page says why. A connection that broke is not: whoever reads may look again.
    source.onerror = () => { if (source.readyState === EventSource.CLOSED) done(); else source.close(); };
  });
}

const places = [...document.querySelectorAll("[data-stream]")];
if (places.length) Promise.all(places.map(listening)).then(() => location.reload());
