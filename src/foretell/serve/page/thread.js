// The messages of the branch that is read, with what can be done to each.

import { copyFrom, h, icon, iconButton } from "./dom.js";
import { showPicture } from "./dialogs.js";
import { markdown } from "./markdown.js";
import { tokenView } from "./tokens.js";

/** One message as an item of the thread; `actions` are called with it. */
export function messageItem(message, place, actions) {
  const mine = message.role === "user";
  const body = h("div", { class: mine ? "bubble" : "prose" });
  if (mine) body.textContent = message.content;
  else body.append(markdown(message.content));
  const element = h("li", { class: `message ${message.role}` },
    h("h2", { class: "unseen" }, mine ? "You" : "Answer"), pictures(message.images),
    (message.content || !mine) && body, footer(message, place, actions, body));
  element.dataset.id = message.id;
  return element;
}

/** The images of a message, each a button that shows it larger. */
function pictures(urls) {
  const label = (index) => (urls.length > 1 ? `Image ${index + 1} of ${urls.length}` : "Image");
  return urls.length > 0 && h("ul", { class: "pictures", "aria-label": "Images" }, urls.map((url, index) => h("li", {},
    h("button", { type: "button", class: "picture", title: "Show it larger", onclick: () => showPicture(url, label(index)) },
      h("img", { src: url, alt: label(index) })))));
}

function footer(message, place, actions, body) {
  const copy = iconButton("copy", "Copy", () => copyFrom(copy, message.content));
  const details = message.details || {};
  const buttons = [copy];
  if (message.role === "user") {
    buttons.unshift(changing(iconButton("edit", "Edit", () => actions.edit(message))));
    if (place.isLast) buttons.push(changing(iconButton("again", "Answer", () => actions.answer(message.id))));
  } else {
    buttons.push(changing(iconButton("again", "Regenerate", () => actions.answer(message.parent))));
    if (details.logprobs?.length) buttons.push(tokensButton(message, details.logprobs, body));
  }
  return h("div", { class: "actions" }, switcher(message, place, actions), buttons,
    message.role === "assistant" && facts(details));
}

// What changes the conversation is not offered while an answer is written.
function changing(button) {
  button.classList.add("changing");
  return button;
}

function tokensButton(message, logprobs, body) {
  const button = iconButton("tokens", "Token probabilities", () => {
    const shown = button.getAttribute("aria-pressed") === "true";
    button.setAttribute("aria-pressed", String(!shown));
    body.replaceChildren(shown ? markdown(message.content) : tokenView(logprobs));
  });
  button.setAttribute("aria-pressed", "false");
  return button;
}

function switcher(message, { index, count }, actions) {
  if (count < 2) return null;
  const before = iconButton("left", "Previous version", () => actions.swap(message, index - 1));
  const after = iconButton("right", "Next version", () => actions.swap(message, index + 1));
  before.disabled = index === 0;
  after.disabled = index === count - 1;
  return h("span", { class: "switcher changing" }, before, h("span", {}, `${index + 1}/${count}`), after);
}

function facts(details) {
  const found = [];
  if (details.model) found.push(details.model);
  if (details.tokens) found.push(`${details.tokens} tokens`);
  if (details.tokens && details.seconds) found.push(`${(details.tokens / details.seconds).toFixed(1)} per second`);
  if (details.finish === "length") found.push("cut at the limit");
  if (details.finish === "stopped") found.push("stopped");
  return h("span", { class: "facts" }, found.join(" · "));
}

/** An answer that is being written: `show` renders its text so far, at most once a frame. */
export function liveItem() {
  const body = h("div", { class: "prose" }, h("p", { class: "waiting" }, h("span"), h("span"), h("span")));
  const element = h("li", { class: "message assistant live", "aria-busy": "true" },
    h("h2", { class: "unseen" }, "Answer"), body);
  let wanted = null;
  let drawn = 0;
  const draw = (now) => {
    if (wanted === null) return;
    if (now - drawn < 50) { // a long text is not rendered anew for every token
      requestAnimationFrame(draw);
      return;
    }
    drawn = now;
    body.replaceChildren(markdown(wanted));
    wanted = null;
  };
  return {
    element,
    show(text) {
      if (wanted === null) requestAnimationFrame(draw);
      wanted = text;
    },
  };
}

/** A mistake in place of an answer. */
export function errorItem(message, retry) {
  return h("li", { class: "message failure", role: "alert" },
    h("p", {}, message), h("button", { type: "button", class: "plain", onclick: retry }, icon("again"), "Try again"));
}

/** A field in place of a message of the user's. */
export function editor(message, { save, cancel }) {
  const text = h("textarea", { class: "edit-text", value: message.content, rows: 3, "aria-label": "Edit the message" });
  const done = () => (text.value.trim() || message.images.length) && save(text.value.trim());
  text.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "Escape") {
      event.stopPropagation();
      cancel();
    } else if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      done();
    }
  });
  const form = h("div", { class: "editor" }, pictures(message.images), text, h("div", { class: "editor-buttons" },
    h("button", { type: "button", class: "plain", onclick: cancel }, "Cancel"),
    h("button", { type: "button", class: "primary", onclick: done }, "Send")));
  queueMicrotask(() => { // when it is in its place
    text.style.height = `${Math.min(400, text.scrollHeight + 2)}px`;
    text.focus();
    text.setSelectionRange(text.value.length, text.value.length);
    form.scrollIntoView({ block: "nearest" });
  });
  return form;
}
