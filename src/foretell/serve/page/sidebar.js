// The list of conversations: search, open, rename, delete.

import * as api from "./api.js";
import { byId, h, icon, iconButton } from "./dom.js";

const DAY = 86400;

function group(updated) {
  const today = new Date();
  today.setHours(0, 0, 0, 0);
  const age = today.getTime() / 1000 - updated;
  if (age <= 0) return "Today";
  if (age <= DAY) return "Yesterday";
  if (age <= 7 * DAY) return "Last week";
  return new Date(updated * 1000).toLocaleDateString(undefined, { month: "long", year: "numeric" });
}

/** Draw the list; `current` is marked, and `on` has open, renamed and deleted. */
export async function drawConversations(current, on) {
  const query = byId("search").value.trim();
  const found = await api.listConversations(query);
  if (query !== byId("search").value.trim()) return; // an answer that came late
  const items = [];
  let heading = "";
  for (const conversation of found) {
    const name = group(conversation.updated);
    if (name !== heading) items.push(h("li", { class: "group" }, (heading = name)));
    items.push(entry(conversation, conversation.id === current, on));
  }
  if (!found.length) items.push(h("li", { class: "none" }, query ? "Nothing found" : "No conversations yet"));
  byId("conversations").replaceChildren(...items);
}

function entry(conversation, current, on) {
  const title = conversation.title || "Conversation";
  const open = h("button", { type: "button", class: "open", title, "aria-current": current ? "true" : undefined,
    onclick: () => on.open(conversation.id) }, title);
  const rename = () => {
    const field = h("input", { class: "rename", value: title, maxLength: 200, "aria-label": "New title" });
    let over = false;
    const finish = async (keep) => {
      if (over) return;
      over = true;
      if (keep && field.value.trim() && field.value.trim() !== title) await on.renamed(conversation.id, field.value.trim());
      else item.replaceChildren(open, tools);
      open.focus();
    };
    field.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key === "Enter" || event.key === "Escape") finish(event.key === "Enter");
    });
    field.addEventListener("blur", () => finish(true));
    item.replaceChildren(field);
    field.select();
  };
  const tools = h("span", { class: "tools" },
    iconButton("edit", `Rename ${title}`, rename),
    iconButton("trash", `Delete ${title}`, () => on.deleted(conversation)));
  const item = h("li", { class: current ? "entry current" : "entry" }, open, tools);
  return item;
}

/** Put icons and words into the fixed buttons, and make the search field draw. */
export function prepareSidebar({ draw, fresh, toggle }) {
  byId("new-chat").append(icon("plus"), "New conversation");
  byId("new-chat").addEventListener("click", fresh);
  let timer = 0;
  byId("search").addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(draw, 150);
  });
  byId("sidebar-open").append(icon("menu"));
  byId("sidebar-close").append(icon("close"));
  for (const id of ["sidebar-open", "sidebar-close", "shade"]) byId(id).addEventListener("click", () => toggle());
}
