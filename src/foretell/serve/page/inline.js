// The text of a line: code, emphasis, links, line breaks.

import { h } from "./dom.js";

const DEEPEST = 12;
const PUNCTUATION = /[!-/:-@[-`{-~]/;
const ADDRESS = /^https?:\/\/[^\s<>"'`]+/;
const MARKS = { "**": "strong", "__": "strong", "~~": "s", "*": "em", "_": "em" };

/** Nodes of a text without blocks. */
export function inline(text, depth = 0) {
  const nodes = [];
  let plain = "";
  const missing = new Set();
  const push = (node) => {
    if (plain) nodes.push(document.createTextNode(plain));
    plain = "";
    nodes.push(node);
  };
  let at = 0;
  while (at < text.length) {
    const found = depth < DEEPEST ? special(text, at, depth, missing) : null;
    if (found) {
      push(found.node);
      at = found.end;
    } else if (text[at] === "\\" && at + 1 < text.length && PUNCTUATION.test(text[at + 1])) {
      plain += text[at + 1];
      at += 2;
    } else if (text[at] === "\n") {
      plain = plain.trimEnd();
      push(h("br"));
      at += 1;
    } else {
      plain += text[at];
      at += 1;
    }
  }
  if (plain) nodes.push(document.createTextNode(plain));
  return nodes;
}

function special(text, at, depth, missing) {
  switch (text[at]) {
    case "`": return code(text, at, missing);
    case "*": case "_": case "~": return emphasis(text, at, depth, missing);
    case "!": return text[at + 1] === "[" ? link(text, at + 1, depth, true) : null;
    case "[": return link(text, at, depth, false);
    case "h": case "<": return address(text, at);
    default: return null;
  }
}

function code(text, at, missing) {
  let run = at;
  while (text[run] === "`") run += 1;
  const fence = text.slice(at, run);
  if (missing.has(fence)) return null;
  let end = text.indexOf(fence, run);
  while (end >= 0 && (text[end + fence.length] === "`" || text[end - 1] === "`")) {
    while (text[end] === "`") end += 1;
    end = text.indexOf(fence, end);
  }
  if (end < 0) {
    missing.add(fence);
    return { node: document.createTextNode(fence), end: run };
  }
  const inside = text.slice(run, end).replaceAll("\n", " ");
  const padded = inside.length > 2 && inside.startsWith(" ") && inside.endsWith(" ") && inside.trim();
  return { node: h("code", {}, padded ? inside.slice(1, -1) : inside), end: end + fence.length };
}

const wordly = (character) => character !== undefined && /[\p{L}\p{N}]/u.test(character);

function emphasis(text, at, depth, missing) {
  const double = text.slice(at, at + 2);
  const mark = MARKS[double] ? double : text[at];
  if (!MARKS[mark] || missing.has(mark)) return null;
  const start = at + mark.length;
  if (text[start] === undefined || /\s/.test(text[start])) return null;
  if (mark[0] === "_" && wordly(text[at - 1])) return null;
  let end = text.indexOf(mark, start + 1);
  while (end >= 0) {
    const after = text[end + mark.length];
    const single = mark.length === 1 && (after === mark || text[end - 1] === mark);
    if (!/\s/.test(text[end - 1]) && !single && !(mark[0] === "_" && wordly(after)) && text[end - 1] !== "\\") break;
    end = text.indexOf(mark, end + (single ? 2 : 1));
  }
  if (end < 0) {
    missing.add(mark);
    return null;
  }
  if (mark.length === 2 && text[end + 2] === mark[0]) end += 1; // ***both***
  return { node: h(MARKS[mark], {}, inline(text.slice(start, end), depth + 1)), end: end + mark.length };
}

/** A target of a link that is a web or mail address, or null. */
export function safeTarget(target) {
  if (!/^(?:https?:\/\/|mailto:)/i.test(target)) return null;
  try {
    const address = new URL(target);
    return ["http:", "https:", "mailto:"].includes(address.protocol) ? address.href : null;
  } catch {
    return null;
  }
}

function anchor(target, children) {
  return h("a", { href: target, target: "_blank", rel: "noopener noreferrer nofollow" }, children);
}

function link(text, at, depth, picture) {
  let open = 0;
  let close = at;
  const furthest = Math.min(text.length, at + 2000);
  for (; close < furthest; close += 1) {
    if (text[close] === "\\") close += 1;
    else if (text[close] === "[") open += 1;
    else if (text[close] === "]" && (open -= 1) === 0) break;
  }
  if (close >= furthest || text[close + 1] !== "(") return null;
  let end = close + 2;
  for (let level = 1; end < text.length && end < close + 4000; end += 1) {
    if (text[end] === "(") level += 1;
    else if (text[end] === ")" && (level -= 1) === 0) break;
    else if (text[end] === "\n") return null;
  }
  if (text[end] !== ")") return null;
  const target = safeTarget(text.slice(close + 2, end).split(/\s["'(]/, 1)[0].trim().replace(/^<|>$/g, ""));
  const label = text.slice(at + 1, close);
  const children = inline(label || (picture ? "picture" : text.slice(close + 2, end)), depth + 1);
  return { node: target ? anchor(target, children) : h("span", {}, children), end: end + 1 };
}

function address(text, at) {
  const bracketed = text[at] === "<";
  if (!bracketed && wordly(text[at - 1])) return null;
  const found = ADDRESS.exec(text.slice(at + (bracketed ? 1 : 0), at + 2000));
  if (!found) return null;
  if (bracketed && text[at + 1 + found[0].length] !== ">") return null;
  const shown = bracketed ? found[0] : found[0].replace(/[.,;:!?)\]*_~]+$/, "");
  const target = safeTarget(shown);
  return target && { node: anchor(target, [shown]), end: at + shown.length + (bracketed ? 2 : 0) };
}
