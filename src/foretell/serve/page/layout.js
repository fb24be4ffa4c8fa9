// The areas around the thread: conversations on one side, settings on the other, on narrow screens in front of it.

import { byId } from "./dom.js";

export const narrow = matchMedia("(max-width: 800px)");

export function togglePanel(open = byId("panel").hidden) {
  byId("panel").hidden = !open;
  byId("panel-open").setAttribute("aria-expanded", String(open));
  if (open && narrow.matches) toggleSidebar(false);
  // On a phone a field would raise the keyboard.
  const [inside, outside] = narrow.matches ? ["panel-close", "panel-open"] : ["system", "composer-text"];
  byId(open ? inside : outside).focus();
}

/** Show or hide the conversations; without `open` the other of the two. */
export function toggleSidebar(open) {
  const { classList } = document.body;
  if (narrow.matches) byId("shade").hidden = !classList.toggle("with-sidebar", open);
  else classList.toggle("without-sidebar", open === undefined ? undefined : !open);
}

/** Close what is open around the thread; whether there was something. */
export function closeAside() {
  if (byId("export").open) byId("export").open = false;
  else if (!byId("panel").hidden) togglePanel(false);
  else if (document.body.classList.contains("with-sidebar")) toggleSidebar(false);
  else return false;
  return true;
}
