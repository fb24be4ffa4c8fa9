// The page: one conversation at a time, the list of all beside it, settings on the other side.

import * as api from "./api.js";
import { Conversation } from "./conversation.js";
import { askForKey, confirmed, showKeys } from "./dialogs.js";
import { byId, h, icon } from "./dom.js";
import * as settings from "./settings.js";
import { drawConversations, prepareSidebar } from "./sidebar.js";
import { applyTheme, nextTheme } from "./theme.js";
import { editor, errorItem, liveItem, messageItem } from "./thread.js";
import { hideTooltip } from "./tokens.js";
import { branch, latestBelow, siblings } from "./tree.js";

const EXAMPLES = ["Explain why the sky is blue, in three sentences.", "Write a haiku about the sea.",
  "Give me a recipe for pancakes.", "What is a good name for a black cat?"];
const narrow = matchMedia("(max-width: 800px)");
const text = byId("composer-text");
const scroller = byId("scroller");

const conversation = new Conversation({ changed: draw, live: drawLive, failed: drawFailure });

/** Errors become an item of the thread; a missing key is asked for, and the work done again. */
async function guarded(work) {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof api.ApiError)) throw error;
    if (error.status === 401) {
      const key = await askForKey();
      if (key) {
        api.setKey(key);
        return guarded(work);
      }
    }
    drawFailure(error, () => guarded(work));
    return undefined;
  }
}

const model = () => byId("model").value;
const list = () => guarded(() => drawConversations(conversation.data.id, listActions));

const actions = {
  edit(message) {
    const item = byId("thread").querySelector(`[data-id="${message.id}"]`);
    item.replaceChildren(editor(message, {
      cancel: () => { draw(); text.focus(); },
      save: (content) => { text.focus(); submit(() => conversation.ask(content, message.parent, model())); },
    }));
  },
  regenerate: (message) => submit(async () => {
    await conversation.set({ leaf: message.parent });
    await conversation.answer(model());
  }),
  swap: (message, index) => guarded(async () => {
    if (conversation.busy) return;
    const other = siblings(conversation.data, message)[index];
    await conversation.set({ leaf: latestBelow(conversation.data, other).id });
    draw();
  }),
};

const listActions = {
  open: (id) => guarded(async () => {
    await conversation.open(id);
    if (narrow.matches) toggleSidebar(false);
    history.replaceState(null, "", `#${id}`);
    chooseModel(conversation.data.model);
    draw();
    drawSettings();
    toEnd();
    await list();
    focusComposer();
  }),
  renamed: (id, title) => guarded(async () => {
    await api.changeConversation(id, { title });
    if (id === conversation.data.id) conversation.data.title = title;
    drawTitle();
    await list();
  }),
  deleted: (entry) => guarded(async () => {
    if (!(await confirmed("Delete the conversation?", `“${entry.title || "Conversation"}” cannot be brought back.`, "Delete"))) return;
    await api.deleteConversation(entry.id);
    if (entry.id === conversation.data.id) fresh();
    else await list();
  }),
};

/** Ready to write; on a phone that would raise the keyboard over what is to be read. */
function focusComposer() {
  if (!narrow.matches) text.focus();
}

/** Do what brings an answer, unless one is on its way. */
function submit(work) {
  if (conversation.busy) return Promise.resolve();
  return guarded(async () => {
    const running = work();
    toEnd();
    await running;
    history.replaceState(null, "", conversation.data.id ? `#${conversation.data.id}` : " ");
    await list();
  });
}

function fresh() {
  conversation.stop();
  conversation.forget();
  history.replaceState(null, "", location.pathname);
  if (narrow.matches) toggleSidebar(false);
  draw();
  drawSettings();
  list();
  focusComposer();
}

function drawTitle() {
  const title = conversation.data.title || "New conversation";
  byId("title").textContent = title;
  document.title = conversation.data.id ? `${title} · Foretell` : "Foretell";
  byId("export").hidden = !conversation.data.id;
}

function draw() {
  hideTooltip();
  const items = branch(conversation.data).map((message) => {
    const all = siblings(conversation.data, message);
    return messageItem(message, { index: all.indexOf(message), count: all.length }, actions);
  });
  byId("thread").replaceChildren(...(items.length ? items : [welcome()]));
  drawTitle();
  drawSend();
}

function welcome() {
  return h("li", { class: "welcome" }, h("img", { src: "/static/icon.svg", alt: "", width: 48, height: 48 }),
    h("h2", {}, "What would you like to know?"),
    h("p", {}, `You are talking to ${model() || "a model"}, on this server.`),
    h("div", { class: "examples" }, EXAMPLES.map((example) => h("button", { type: "button",
      onclick: () => submit(() => conversation.ask(example, conversation.data.leaf, model())) }, example))));
}

function drawLive() {
  const item = liveItem();
  byId("thread").append(item.element);
  byId("status").textContent = "The answer is being written.";
  return { show: (content) => item.show(content) };
}

function drawFailure(error, again = () => submit(() => conversation.answer(model()))) {
  byId("thread").querySelector(".failure")?.remove();
  byId("thread").append(errorItem(error.message, () => {
    byId("thread").querySelector(".failure")?.remove();
    again();
  }));
  drawSend();
}

function drawSend() {
  const busy = conversation.busy;
  byId("send").replaceChildren(icon(busy ? "stop" : "send"));
  byId("send").setAttribute("aria-label", busy ? "Stop" : "Send");
  document.body.classList.toggle("busy", busy);
  byId("send").disabled = !busy && !text.value.trim();
  if (!busy) byId("status").textContent = "";
}

// The view stays at the end while an answer grows, unless it was scrolled away from there.
let following = true;
const atEnd = () => scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 60;
function toEnd() {
  following = true;
  scroller.scrollTop = scroller.scrollHeight;
}
new ResizeObserver(() => following && toEnd()).observe(byId("thread"));
scroller.addEventListener("scroll", () => {
  following = atEnd();
  byId("to-end").hidden = following;
  hideTooltip();
});

function drawSettings() {
  settings.drawPanel(conversation.data.system, conversation.data.settings, {
    close: () => togglePanel(false),
    changed: (system, values, anew) => guarded(async () => {
      settings.keep(values);
      await conversation.set({ system, settings: values });
      if (anew) drawSettings();
    }),
  });
}

function togglePanel(open = byId("panel").hidden) {
  byId("panel").hidden = !open;
  byId("panel-open").setAttribute("aria-expanded", String(open));
  if (open && narrow.matches) toggleSidebar(false);
  (open ? byId("system") : text).focus();
}

function toggleSidebar(open = narrow.matches ? !document.body.classList.contains("with-sidebar") : undefined) {
  if (narrow.matches) {
    document.body.classList.toggle("with-sidebar", open);
    byId("shade").hidden = !open;
  } else {
    document.body.classList.toggle("without-sidebar", open === undefined ? undefined : !open);
  }
}

function chooseModel(name) {
  if ([...byId("model").options].some((option) => option.value === name)) byId("model").value = name;
}

function send() {
  const content = text.value.trim();
  if (!content || conversation.busy) return;
  text.value = "";
  fit();
  submit(() => conversation.ask(content, conversation.data.leaf, model()));
}

function fit() {
  text.style.height = "auto";
  text.style.height = `${Math.min(220, text.scrollHeight)}px`;
  drawSend();
}

function editLast() {
  const last = branch(conversation.data).findLast((message) => message.role === "user");
  if (last && !conversation.busy) actions.edit(last);
}

function shortcut(event) {
  const command = event.ctrlKey || event.metaKey;
  const typing = /^(?:INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
  if (byId("dialog").open) return;
  if (command && event.shiftKey && event.code === "KeyO") fresh();
  else if (command && event.code === "KeyK") {
    toggleSidebar(true);
    byId("search").focus();
  } else if (command && event.key === ",") togglePanel();
  else if (event.key === "?" && !typing) showKeys();
  else if (event.key === "Escape") {
    if (conversation.busy) conversation.stop();
    else if (!byId("panel").hidden) togglePanel(false);
    else if (document.body.classList.contains("with-sidebar")) toggleSidebar(false);
    else return;
  } else return;
  event.preventDefault();
}

async function download(format) {
  byId("export").open = false;
  const file = await api.exportConversation(conversation.data.id, format);
  const address = URL.createObjectURL(file.data);
  h("a", { href: address, download: file.name }).click();
  URL.revokeObjectURL(address);
}

function prepare() {
  prepareSidebar({ draw: list, fresh, toggle: () => toggleSidebar() });
  byId("panel-open").append(icon("sliders"));
  byId("panel-open").addEventListener("click", () => togglePanel());
  byId("export").firstElementChild.append(icon("export"));
  byId("export").addEventListener("click", ({ target }) => target.dataset?.format && guarded(() => download(target.dataset.format)));
  byId("to-end").append(icon("down"));
  byId("to-end").addEventListener("click", toEnd);
  byId("help").append(icon("keys"));
  byId("help").addEventListener("click", showKeys);
  byId("theme").addEventListener("click", nextTheme);
  byId("model").addEventListener("change", () => guarded(() => conversation.set({ model: model() })));
  byId("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    if (conversation.busy) conversation.stop();
    else send();
  });
  text.addEventListener("input", fit);
  text.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      send();
    } else if (event.key === "ArrowUp" && !text.value) editLast();
  });
  document.addEventListener("keydown", shortcut);
}

async function start() {
  applyTheme();
  prepare();
  const found = await guarded(api.models);
  if (!found) return;
  byId("model").replaceChildren(...found.map(({ id }) => h("option", { value: id }, id)));
  conversation.data.model = model();
  draw();
  drawSettings();
  await list();
  if (location.hash.length > 1) await listActions.open(location.hash.slice(1));
  else if (document.activeElement === document.body) focusComposer(); // not from under somebody's fingers
}

start();
