// Questions and explanations in front of the page.

import { byId, h } from "./dom.js";

/** Show a dialog and wait for the value of the button that closes it; Escape gives "". */
function show(title, content, buttons) {
  const dialog = byId("dialog");
  const form = h("form", { method: "dialog" }, h("h2", { id: "dialog-title" }, title), content,
    h("div", { class: "dialog-buttons" }, buttons));
  dialog.replaceChildren(form);
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true }));
}

export const confirmed = async (title, sentence, verb) =>
  (await show(title, h("p", {}, sentence), [
    h("button", { value: "", class: "plain" }, "Cancel"),
    h("button", { value: "yes", class: "danger", autofocus: true }, verb),
  ])) === "yes";

/** The key that the server asks for, or "". */
export async function askForKey() {
  const field = h("input", { type: "password", autocomplete: "off", "aria-label": "API key", autofocus: true });
  const answer = await show("API key", h("div", {}, h("p", {}, "This server answers only with one of its keys."), field), [
    h("button", { value: "yes", class: "primary" }, "Continue"),
  ]);
  return answer ? field.value.trim() : "";
}

/** An image as large as there is room. */
export const showPicture = (url, name) => show(name, h("img", { class: "shown", src: url, alt: name }),
  [h("button", { value: "", class: "primary", autofocus: true }, "Close")]);

const KEYS = [
  ["Enter", "Send"], ["Shift + Enter", "New line"], ["Escape", "Stop the answer, close what is open"],
  ["↑ in an empty field", "Edit the last message"], ["Ctrl + Shift + O", "New conversation"],
  ["Ctrl + K", "Search conversations"], ["Ctrl + ,", "Settings"], ["?", "This list"],
];

export const showKeys = () => show("Keyboard", h("dl", { class: "keys" },
  KEYS.map(([keys, meaning]) => [h("dt", {}, keys.split(" + ").map((key) => h("kbd", {}, key))), h("dd", {}, meaning)])),
  [h("button", { value: "", class: "primary", autofocus: true }, "Close")]);
