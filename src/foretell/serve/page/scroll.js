// The view stays at the end while an answer grows, unless it was scrolled away from there.

import { byId, icon } from "./dom.js";

const NEAR = 60;
const scroller = byId("scroller");
let following = true;

export function toEnd() {
  following = true;
  scroller.scrollTop = scroller.scrollHeight;
}

/** Follow the end; `moved` is called when the view moves. */
export function prepareScrolling(moved) {
  new ResizeObserver(() => following && toEnd()).observe(byId("thread"));
  scroller.addEventListener("scroll", () => {
    following = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR;
    byId("to-end").hidden = following;
    moved();
  });
  byId("to-end").append(icon("down"));
  byId("to-end").addEventListener("click", toEnd);
}
