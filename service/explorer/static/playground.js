// Answers as they are written; once all are there, the page is made anew, with what compares and rates them.
"use strict";

// What cannot be seen, or changes the direction of writing, as its escape: the pages of the server do the same.
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;
const escaped = (text) => text.replace(UNSEEN, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`);

function listening(place) {
  return new Promise((done) => {
    const source = new EventSource(place.dataset.stream);
    const ended = (failed) => { source.close(); done(failed); };
    source.onmessage = (event) => {
      if (event.data === "[DONE]") return ended(true);
      const told = JSON.parse(event.data);
      if (told.piece) place.append(escaped(told.piece));
      if (told.error) place.nextElementSibling.textContent = escaped(told.error.message);
      if (told.answer_id) ended(false);
    };
    source.onerror = () => ended(true);
  });
}

const places = [...document.querySelectorAll("[data-stream]")];
if (places.length) Promise.all(places.map(listening)).then((failed) => { if (!failed.some(Boolean)) location.reload(); });
