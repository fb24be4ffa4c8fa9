// Where messages are written, and the button that sends them or stops an answer.

import { attaching, attachments, prepareAttachments, takeAttachments } from "./attachments.js";
import { byId, icon } from "./dom.js";
import { narrow } from "./layout.js";

const TALLEST = 220;
const text = byId("composer-text");

/** `on` has busy, send (called with the text and the images), stop and editLast. */
export function prepareComposer(on) {
  const send = () => {
    if (!ready() || on.busy()) return;
    const content = text.value.trim();
    text.value = "";
    fit();
    on.send(content, takeAttachments());
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
  prepareAttachments(() => drawComposer(on.busy()));
}

/** Whether there is something to send, and all of it. */
const ready = () => !attaching() && Boolean(text.value.trim() || attachments().length);

export function drawComposer(busy) {
  const button = byId("send");
  button.replaceChildren(icon(busy ? "stop" : "send"));
  button.setAttribute("aria-label", busy ? "Stop" : "Send");
  button.disabled = !busy && !ready();
}

export const focusComposer = () => text.focus();

/** Ready to write; on a phone that would raise the keyboard over what is to be read. */
export function offerComposer() {
  if (!narrow.matches) focusComposer();
}
