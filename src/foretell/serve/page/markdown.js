// Markdown to DOM nodes. Nothing is ever parsed as HTML, links lead to web and mail addresses only, and pictures become
// links, so that a text cannot make the browser ask anything of anybody.

import { h, icon, copyFrom } from "./dom.js";
import { inline } from "./inline.js";

const DEEPEST = 10;
const FENCE = /^( {0,3})(`{3,}|~{3,})\s*([^`\s]*)(?:\s[^`]*)?$/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])(?: +(.*)|$)/;
const RULE = /^ {0,3}(?:(?:\* *){3,}|(?:- *){3,}|(?:_ *){3,})$/;
const HEADING = /^ {0,3}(#{1,6})(?: +(.*))?$/;
const QUOTE = /^ {0,3}> ?/;
const CELLS_RULE = /^ *\|? *:?-+:? *(?:\| *:?-+:? *)*\|? *$/;

/** Nodes of a text. */
export function markdown(text) {
  return blocks(text.replace(/\r\n?/g, "\n").replace(/\t/g, "    ").split("\n"), 0);
}

function blocks(lines, depth) {
  if (depth > DEEPEST) return [h("p", {}, lines.join("\n"))];
  const nodes = [];
  let at = 0;
  while (at < lines.length) {
    const line = lines[at];
    let found;
    if (!line.trim()) {
      at += 1;
    } else if ((found = FENCE.exec(line))) {
      at = fenced(lines, at, found, nodes);
    } else if ((found = HEADING.exec(line))) {
      nodes.push(h(`h${Math.min(6, found[1].length + 1)}`, {}, inline(withoutClosing((found[2] || "").trim()))));
      at += 1;
    } else if (RULE.test(line)) {
      nodes.push(h("hr"));
      at += 1;
    } else if (QUOTE.test(line)) {
      const start = at;
      while (at < lines.length && QUOTE.test(lines[at])) at += 1;
      nodes.push(h("blockquote", {}, blocks(lines.slice(start, at).map((one) => one.replace(QUOTE, "")), depth + 1)));
    } else if (ITEM.test(line)) {
      at = list(lines, at, nodes, depth);
    } else if (line.includes("|") && at + 1 < lines.length && lines[at + 1].includes("-") && CELLS_RULE.test(lines[at + 1])) {
      at = table(lines, at, nodes);
    } else {
      const start = at;
      at += 1;
      while (at < lines.length && lines[at].trim() && !interrupts(lines[at])) at += 1;
      nodes.push(h("p", {}, inline(lines.slice(start, at).join("\n").trim())));
    }
  }
  return nodes;
}

// Patterns that end in "+$" would be slow on hostile lines.
function withoutClosing(title) {
  let end = title.length;
  while (title[end - 1] === "#") end -= 1;
  return end === 0 || (end < title.length && title[end - 1] === " ") ? title.slice(0, end).trimEnd() : title;
}

const interrupts = (line) => [FENCE, HEADING, RULE, QUOTE, ITEM].some((pattern) => pattern.test(line));

function fenced(lines, at, found, nodes) {
  const [, indent, fence, language] = found;
  const content = [];
  let next = at + 1;
  for (; next < lines.length; next += 1) {
    const end = lines[next].trim();
    if (end.length >= fence.length && end === fence[0].repeat(end.length)) break;
    content.push(lines[next].startsWith(indent) ? lines[next].slice(indent.length) : lines[next]);
  }
  nodes.push(codeBlock(content.join("\n"), language));
  return next + 1;
}

/** Code with its language and a button to copy it. */
export function codeBlock(code, language) {
  const copy = h("button", { type: "button", class: "copy-code", onclick: () => copyFrom(copy, code) }, icon("copy"), "Copy");
  return h("figure", { class: "code" },
    h("figcaption", {}, h("span", {}, language || "text"), copy),
    h("pre", { tabIndex: 0 }, h("code", {}, code)));
}

function list(lines, start, nodes, depth) {
  const first = ITEM.exec(lines[start]);
  const ordered = /\d/.test(first[2]);
  const base = first[1].length;
  const items = [];
  let at = start;
  let loose = false;
  while (at < lines.length) {
    const found = ITEM.exec(lines[at]);
    if (!found || found[1].length > base + 1 || found[1].length < base || /\d/.test(found[2]) !== ordered) break;
    if (RULE.test(lines[at])) break;
    const inner = found[1].length + found[2].length + 1;
    const content = [found[3] || ""];
    at += 1;
    while (at < lines.length) {
      const blank = !lines[at].trim();
      const indent = lines[at].length - lines[at].trimStart().length;
      if (!blank && indent < Math.min(inner, base + 2) && (ITEM.test(lines[at]) || interrupts(lines[at]))) break;
      if (blank && !continues(lines, at, base + 2)) break;
      if (!blank && indent <= base && !lines[at - 1].trim()) break;
      loose ||= blank;
      content.push(lines[at].slice(Math.min(indent, inner)));
      at += 1;
    }
    items.push(content);
    while (at < lines.length && !lines[at].trim() && ITEM.test(lines[at + 1] || "")) at += 1;
  }
  const element = h(ordered ? "ol" : "ul", { class: loose ? "loose" : undefined }, items.map((content) => item(content, depth)));
  if (ordered && parseInt(first[2], 10) !== 1) element.start = parseInt(first[2], 10);
  nodes.push(element);
  return at;
}

const continues = (lines, at, indent) => {
  const next = lines.slice(at + 1, at + 3).find((line) => line.trim());
  return next !== undefined && next.length - next.trimStart().length >= indent;
};

function item(content, depth) {
  const task = /^\[([ xX])\] +(.*)$/.exec(content[0]);
  if (task) content[0] = task[2];
  const inside = blocks(content, depth + 1);
  // A paragraph that begins an item is its text.
  if (inside[0] && inside[0].tagName === "P") inside.splice(0, 1, ...inside[0].childNodes);
  const box = task && h("input", { type: "checkbox", disabled: true, checked: task[1] !== " " });
  return h("li", { class: task ? "task" : undefined }, box, inside);
}

function cells(line) {
  const trimmed = line.trim().replace(/^\|/, "").replace(/\|$/, "");
  return trimmed.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

function table(lines, at, nodes) {
  const head = cells(lines[at]);
  const sides = cells(lines[at + 1]).map((cell) => (cell.endsWith(":") ? (cell.startsWith(":") ? "center" : "right") : ""));
  const row = (tag, values) => h("tr", {}, head.map((_, index) =>
    h(tag, { class: sides[index] || undefined }, inline(values[index] || ""))));
  const body = [];
  let next = at + 2;
  for (; next < lines.length && lines[next].trim() && lines[next].includes("|"); next += 1) body.push(row("td", cells(lines[next])));
  nodes.push(h("div", { class: "table", tabIndex: 0 }, h("table", {}, h("thead", {}, row("th", head)), h("tbody", {}, body))));
  return next;
}
