// The panel of settings: system message, sampling, probabilities.

import { byId, h, iconButton } from "./dom.js";

const KEPT = "foretell-settings";
const DEFAULTS = { temperature: 0.7, top_p: 0.95 };

const SLIDERS = [
  { name: "temperature", label: "Temperature", most: 2, step: 0.05, neutral: 1, help: "0 always takes the likeliest token." },
  { name: "top_p", label: "Top p", least: 0.01, most: 1, step: 0.01, neutral: 1, help: "Only the likeliest tokens that make up this share." },
  { name: "min_p", label: "Min p", most: 1, step: 0.01, neutral: 0, help: "Only tokens of this share of the likeliest one's." },
  { name: "repetition_penalty", label: "Repetition penalty", least: 1, most: 2, step: 0.05, neutral: 1, help: "Above 1, tokens that were there become less likely." },
  { name: "presence_penalty", label: "Presence penalty", least: -2, most: 2, step: 0.1, neutral: 0 },
  { name: "frequency_penalty", label: "Frequency penalty", least: -2, most: 2, step: 0.1, neutral: 0 },
];
const NUMBERS = [
  { name: "top_k", label: "Top k", least: 0, placeholder: "all" },
  { name: "max_tokens", label: "Longest answer", least: 1, placeholder: "what fits" },
  { name: "seed", label: "Seed", placeholder: "random" },
];

/** Settings of the last conversation on this device, for the next one. */
export function kept() {
  try {
    return { ...DEFAULTS, ...JSON.parse(localStorage.getItem(KEPT)) };
  } catch {
    return { ...DEFAULTS };
  }
}

export const keep = (settings) => localStorage.setItem(KEPT, JSON.stringify(settings));

/** The fields of a request that settings make. */
export function sampling(settings) {
  const found = {};
  for (const { name } of [...SLIDERS, ...NUMBERS]) {
    if (typeof settings[name] === "number" && Number.isFinite(settings[name])) found[name] = settings[name];
  }
  if (settings.probabilities) Object.assign(found, { logprobs: true, top_logprobs: 5 });
  return found;
}

/** Draw the panel; `changed` is called with the system message and the settings. */
export function drawPanel(system, settings, { changed, close }) {
  const now = { ...settings };
  const text = h("textarea", { id: "system", rows: 5, value: system, placeholder: "How the assistant should behave" });
  const tell = () => changed(text.value, { ...now });
  text.addEventListener("change", tell);
  const slider = ({ name, label, least = 0, most, step, neutral, help }) => {
    const shown = h("output", { for: `set-${name}` }, String(now[name] ?? neutral));
    const input = h("input", { id: `set-${name}`, type: "range", min: least, max: most, step, "aria-describedby": help ? `help-${name}` : undefined });
    input.value = now[name] ?? neutral;
    input.addEventListener("input", () => { shown.textContent = input.value; });
    input.addEventListener("change", () => {
      now[name] = Number(input.value);
      tell();
    });
    return h("div", { class: "setting" }, h("label", { for: `set-${name}` }, label), shown, input,
      help && h("p", { id: `help-${name}`, class: "help" }, help));
  };
  const number = ({ name, label, least, placeholder }) => {
    const input = h("input", { id: `set-${name}`, type: "number", min: least, step: 1, placeholder, value: now[name] ?? "" });
    input.addEventListener("change", () => {
      const value = input.value === "" ? NaN : Math.trunc(Number(input.value));
      if (Number.isSafeInteger(value)) now[name] = value;
      else delete now[name];
      tell();
    });
    return h("div", { class: "setting short" }, h("label", { for: `set-${name}` }, label), input);
  };
  const box = h("input", { id: "set-probabilities", type: "checkbox", checked: Boolean(now.probabilities) });
  box.addEventListener("change", () => {
    now.probabilities = box.checked;
    tell();
  });
  byId("panel").replaceChildren(
    h("div", { class: "panel-head" }, h("h2", {}, "Settings"), iconButton("close", "Close settings", close, "panel-close")),
    h("div", { class: "panel-body" },
      h("label", { class: "section", for: "system" }, "System message"), text,
      h("h3", { class: "section" }, "Sampling"), SLIDERS.map(slider), NUMBERS.map(number),
      h("h3", { class: "section" }, "Insight"),
      h("div", { class: "setting check" }, box, h("label", { for: "set-probabilities" }, "Record token probabilities")),
      h("p", { class: "help" }, "New answers then have a button that shows how likely each token was, and the alternatives."),
      h("button", { type: "button", class: "plain", onclick: () => changed(text.value, { ...DEFAULTS }, true) }, "Reset to defaults")));
}
