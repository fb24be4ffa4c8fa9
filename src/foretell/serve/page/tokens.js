// An answer's tokens, each with its probability, and the alternatives in a tooltip by pointer or by arrow keys.

import { byId, h } from "./dom.js";

const percent = (logprob) => {
  const share = 100 * Math.exp(logprob);
  return share >= 99.95 ? "100 %" : share >= 0.1 ? `${share.toFixed(1)} %` : "< 0.1 %";
};

/** What is kept of OpenAI's entries: token, log-probability, alternatives. */
export const packed = (entries) => entries.map((entry) =>
  [entry.token, round(entry.logprob), entry.top_logprobs.map((other) => [other.token, round(other.logprob)])]);

const round = (value) => Math.round(value * 1e4) / 1e4;
const visible = (token) => token.replaceAll("\n", "⏎").replaceAll("\t", "⇥").replaceAll(" ", "·") || "∅";

function showTooltip(span, [token, logprob, others]) {
  const tooltip = byId("tooltip");
  // Halves of characters look alike; their probabilities tell them apart.
  const found = others.findIndex(([other, value]) => other === token && value === logprob);
  const rows = found >= 0 ? others : [...others, [token, logprob]];
  const chosen = found >= 0 ? found : rows.length - 1;
  tooltip.replaceChildren(...rows.map(([other, value], index) => {
    const bar = h("span", { class: "bar" });
    bar.style.width = `${Math.max(1, 100 * Math.exp(value))}%`;
    return h("div", { class: index === chosen ? "row chosen" : "row" },
      h("code", {}, visible(other)), h("span", { class: "track" }, bar), h("span", { class: "share" }, percent(value)));
  }));
  tooltip.hidden = false;
  const place = span.getBoundingClientRect();
  const size = tooltip.getBoundingClientRect();
  const left = Math.min(Math.max(8, place.left + place.width / 2 - size.width / 2), innerWidth - size.width - 8);
  const above = place.top - size.height - 8;
  tooltip.style.left = `${left}px`;
  tooltip.style.top = `${above > 8 ? above : place.bottom + 8}px`;
}

export const hideTooltip = () => { byId("tooltip").hidden = true; };

/** The tokens of an answer, as one stop of the tab key within which arrow keys move. */
export function tokenView(entries) {
  const spans = entries.map((entry) => {
    const span = h("span", { class: `token level-${level(entry[1])}` }, entry[0]);
    span.addEventListener("pointerenter", () => select(spans.indexOf(span)));
    return span;
  });
  let selected = -1;
  const select = (index) => {
    spans[selected]?.classList.remove("selected");
    selected = index;
    if (!spans[selected]) {
      hideTooltip();
      return;
    }
    spans[selected].classList.add("selected");
    spans[selected].scrollIntoView({ block: "nearest" });
    showTooltip(spans[selected], entries[selected]);
    byId("status").textContent = `${visible(entries[selected][0])}, ${percent(entries[selected][1])}`;
  };
  return h("div", {
    class: "tokens", tabIndex: 0, role: "group", "aria-label": "Tokens with their probabilities; arrow keys move",
    "aria-describedby": "tooltip",
    onpointerleave: () => select(-1),
    onblur: () => select(-1),
    onkeydown: (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      select(Math.min(spans.length - 1, Math.max(0, selected + step)));
    },
  }, spans);
}

// Five shades from certain to surprising.
function level(logprob) {
  const share = Math.exp(logprob);
  return [0.9, 0.6, 0.3, 0.1].findIndex((bound) => share >= bound) + 1 || 5;
}
