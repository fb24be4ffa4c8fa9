// Light, dark, or what the system says.

import { byId } from "./dom.js";

const KEY = "foretell-theme";
const NAMES = { system: "System colours", light: "Light", dark: "Dark" };

export function applyTheme() {
  const theme = localStorage.getItem(KEY) || "system";
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  byId("theme").textContent = NAMES[theme] || NAMES.system;
  byId("theme").title = "Change the colours";
}

export function nextTheme() {
  const names = Object.keys(NAMES);
  const next = names[(names.indexOf(localStorage.getItem(KEY) || "system") + 1) % names.length];
  localStorage.setItem(KEY, next);
  applyTheme();
}
