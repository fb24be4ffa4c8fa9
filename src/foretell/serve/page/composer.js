// Where messages are written, and the button that sends them or stops an answer.

import { byId, icon } from "./dom.js";
import { narrow } from "./layout.js";

const TALLEST = 220;
const text = byId("composer-text");

/** `on` has busy, send, stop and editLast. */
export function prepareComposer(on) {
  const send = () => {
    const content = text.value.trim();
    if (!content || on.busy()) return;
    text.value = "";
    fit();
    on.send(content);
  };
  const fit = () => {
    text.style.height = "auto";
    text.style.height = `${Math.min(TALLEST, text.scrollHeight)}px`;
    drawComposer(on.busy());
  };
  byId("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    if (on.busy()) on.stop();
    else send();
  });
  text.addEventListener("input", fit);
  text.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      send();
    } else if (event.key === "ArrowUp" && !text.value) on.editLast();
  });
  byId("skip").addEventListener("click", focusComposer);
}

export function drawComposer(busy) {
  const button = byId("send");
  button.replaceChildren(icon(busy ? "stop" : "send"));
  button.setAttribute("aria-label", busy ? "Stop" : "Send");
  button.disabled = !busy && !text.value.trim();
}

export const focusComposer = () => text.focus();

/** Ready to write; on a phone that would raise the keyboard over what is to be read. */
export function offerComposer() {
  if (!narrow.matches) focusComposer();
}
