// The page: one conversation at a time, the list of all beside it, settings on the other side.

import * as api from "./api.js";
import { offerAttachments } from "./attachments.js";
import { drawComposer, focusComposer, offerComposer, prepareComposer } from "./composer.js";
import { Conversation } from "./conversation.js";
import { askForKey, confirmed, showKeys } from "./dialogs.js";
import { byId, h, icon } from "./dom.js";
import { closeAside, narrow, togglePanel, toggleSidebar } from "./layout.js";
import { chooseModel, chosenModel, offerModels, readsImages, whenChosen } from "./picker.js";
import { prepareScrolling, toEnd } from "./scroll.js";
import * as settings from "./settings.js";
import { drawConversations, prepareSidebar } from "./sidebar.js";
import { applyTheme, nextTheme } from "./theme.js";
import { editor, errorItem, liveItem, messageItem } from "./thread.js";
import { hideTooltip } from "./tokens.js";
import { branch, latestBelow, siblings } from "./tree.js";

const EXAMPLES = ["Explain why the sky is blue, in three sentences.", "Write a haiku about the sea.",
  "Give me a recipe for pancakes.", "What is a good name for a black cat?"];

let wanted = location.hash.slice(1); // the conversation of the address, until it is open

const conversation = new Conversation({
  busy: drawBusy, changed: draw, live: drawLive,
  failed: (error, question) => drawFailure(error, () => actions.answer(question)),
});

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

const list = () => guarded(() => drawConversations(conversation.data.id, listActions));
const ask = (question, parent) => submit(() => conversation.ask(question, parent, chosenModel()));

const actions = {
  edit(message) {
    const item = byId("thread").querySelector(`[data-id="${message.id}"]`);
    item.replaceChildren(editor(message, {
      cancel: () => { draw(); focusComposer(); },
      save: (content) => { focusComposer(); ask({ content, images: message.images }, message.parent); },
    }));
  },
  answer: (question) => submit(() => conversation.answer(question, chosenModel())),
  swap: (message, index) => guarded(async () => {
    if (conversation.busy) return;
    const other = siblings(conversation.data, message)[index];
    await conversation.set({ leaf: latestBelow(conversation.data, other).id });
    draw();
  }),
};

const listActions = {
  open: (id) => guarded(async () => {
    if (narrow.matches) toggleSidebar(false);
    if (conversation.busy && id === conversation.data.id) return; // it is there, and goes on
    await conversation.open(id);
    chooseModel(conversation.data.model);
    offerAttachments(readsImages());
    draw();
    drawSettings();
    toEnd();
    await list();
    offerComposer();
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

/** Do what brings an answer, unless one is on its way. */
async function submit(work) {
  if (conversation.busy) return;
  await guarded(async () => {
    const running = work();
    toEnd();
    await running;
    await list();
  });
}

function fresh() {
  conversation.forget();
  if (narrow.matches) toggleSidebar(false);
  draw();
  drawSettings();
  list();
  offerComposer();
}

/** What says which conversation it is, the address too. */
function drawTitle() {
  const { id, title } = conversation.data;
  byId("title").textContent = title || "New conversation";
  document.title = id ? `${title} · Foretell` : "Foretell";
  byId("export").hidden = !id;
  history.replaceState(null, "", id || wanted ? `#${id || wanted}` : location.pathname);
}

function draw() {
  hideTooltip();
  const items = branch(conversation.data).map((message) => {
    const all = siblings(conversation.data, message);
    const isLast = message.id === conversation.data.leaf;
    return messageItem(message, { index: all.indexOf(message), count: all.length, isLast }, actions);
  });
  byId("thread").replaceChildren(...(items.length ? items : [welcome()]));
  drawTitle();
  drawBusy();
}

function welcome() {
  return h("li", { class: "welcome" }, h("img", { src: "/static/icon.svg", alt: "", width: 48, height: 48 }),
    h("h2", {}, "What would you like to know?"),
    h("p", {}, `You are talking to ${chosenModel() || "a model"}, on this server.`),
    h("div", { class: "examples" }, EXAMPLES.map((example) => h("button", { type: "button",
      onclick: () => ask({ content: example, images: [] }, conversation.data.leaf) }, example))));
}

function drawLive() {
  const item = liveItem();
  byId("thread").append(item.element);
  byId("status").textContent = "The answer is being written.";
  return item;
}

function drawFailure(error, again) {
  byId("thread").querySelector(".failure")?.remove();
  const item = errorItem(error.message, () => {
    item.remove();
    again();
  });
  byId("thread").append(item);
}

function drawBusy() {
  document.body.classList.toggle("busy", conversation.busy);
  drawComposer(conversation.busy);
  if (!conversation.busy) byId("status").textContent = "";
}

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

function modelChosen() {
  offerAttachments(readsImages());
  if (!conversation.data.messages.length) draw(); // the welcome names it
  guarded(() => conversation.set({ model: chosenModel() }));
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
  else if (event.key === "Escape" && conversation.busy) conversation.stop();
  else if (event.key !== "Escape" || !closeAside()) return;
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
  prepareScrolling(hideTooltip);
  prepareComposer({
    busy: () => conversation.busy, stop: () => conversation.stop(), editLast,
    send: (content, images) => ask({ content, images }, conversation.data.leaf),
  });
  whenChosen(modelChosen);
  byId("panel-open").append(icon("sliders"));
  byId("panel-open").addEventListener("click", () => togglePanel());
  byId("export").firstElementChild.append(icon("export"));
  byId("export").addEventListener("click", ({ target }) => target.dataset?.format && guarded(() => download(target.dataset.format)));
  byId("help").append(icon("keys"));
  byId("help").addEventListener("click", showKeys);
  byId("theme").addEventListener("click", nextTheme);
  document.addEventListener("keydown", shortcut);
}

async function start() {
  applyTheme();
  prepare();
  const found = await guarded(api.models);
  if (!found) return;
  offerModels(found);
  offerAttachments(readsImages());
  draw();
  drawSettings();
  await list();
  if (wanted) {
    await listActions.open(wanted);
    wanted = "";
    drawTitle();
  } else if (document.activeElement === document.body) offerComposer(); // not from under somebody's fingers
}

start();
