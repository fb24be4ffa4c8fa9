// Markdown to DOM nodes. Nothing is ever parsed as HTML, links lead to web and mail addresses only, and pictures become
// links, so that a text cannot make the browser ask anything of anybody.

import { h, icon, copyFrom } from "./dom.js";
import { inline } from "./inline.js";

// None of these patterns has two parts that can share the same characters out in many ways before something that may
// be missing: on a long hostile line that would take the square of its length.
const DEEPEST = 10;
const FENCE = /^( {0,3})(`{3,}|~{3,})/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])(?: +(.*)|$)/s;
const RULE = /^ {0,3}(?:(?:\* *){3,}|(?:- *){3,}|(?:_ *){3,})$/;
const HEADING = /^ {0,3}(#{1,6})(?: |$)/;
const QUOTE = /^ {0,3}> ?/;
const RULED_CELL = /^:?-+:?$/;
const TAB = "    ";

/** The fragment that a text makes. */
export function markdown(text) {
  const fragment = document.createDocumentFragment();
  for (const node of blocks(text.replace(/\r\n?/g, "\n").split("\n"), 0)) fragment.append(node);
  return fragment;
}

/** Nodes of lines; what they are is read without tabs, and code has its tabs as they were written. */
function blocks(written, depth) {
  if (depth > DEEPEST) return [h("p", {}, written.join("\n"))];
  const lines = written.map((line) => line.replaceAll("\t", TAB));
  const nodes = [];
  let at = 0;
  while (at < lines.length) {
    const line = lines[at];
    let found;
    if (!line.trim()) {
      at += 1;
    } else if ((found = fence(line))) {
      at = fenced(written, at, found, nodes);
    } else if ((found = HEADING.exec(line))) {
      nodes.push(h(`h${Math.min(6, found[1].length + 1)}`, {}, inline(withoutClosing(line.slice(found[0].length).trim()))));
      at += 1;
    } else if (RULE.test(line)) {
      nodes.push(h("hr"));
      at += 1;
    } else if (QUOTE.test(line)) {
      const start = at;
      while (at < lines.length && QUOTE.test(lines[at])) at += 1;
      nodes.push(h("blockquote", {}, blocks(written.slice(start, at).map((one) => one.replace(QUOTE, "")), depth + 1)));
    } else if (ITEM.test(line)) {
      at = list(lines, written, at, nodes, depth);
    } else if (beginsTable(lines, at)) {
      at = table(lines, at, nodes);
    } else {
      const start = at;
      at += 1;
      while (at < lines.length && lines[at].trim() && !interrupts(lines[at]) && !beginsTable(lines, at)) at += 1;
      nodes.push(h("p", {}, inline(lines.slice(start, at).join("\n").trim())));
    }
  }
  return nodes;
}

function withoutClosing(title) {
  let end = title.length;
  while (title[end - 1] === "#") end -= 1;
  return end === 0 || (end < title.length && title[end - 1] === " ") ? title.slice(0, end).trimEnd() : title;
}

const interrupts = (line) => Boolean(fence(line)) || [HEADING, RULE, QUOTE, ITEM].some((pattern) => pattern.test(line));

/** How a line begins a block of code, or null. */
function fence(line) {
  const found = FENCE.exec(line);
  if (!found) return null;
  const [whole, indent, marks] = found;
  const rest = line.slice(whole.length);
  if (marks[0] === "`" && rest.includes("`")) return null; // code within a line
  return { indent, marks, language: rest.trim().split(/\s/, 1)[0] };
}

function fenced(written, at, { indent, marks, language }, nodes) {
  const content = [];
  let next = at + 1;
  for (; next < written.length; next += 1) {
    const end = written[next].trim();
    if (end.length >= marks.length && end === marks[0].repeat(end.length)) break;
    content.push(written[next].startsWith(indent) ? written[next].slice(indent.length) : written[next]);
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

function list(lines, written, start, nodes, depth) {
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
      content.push(dedented(written[at], Math.min(indent, inner)));
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

/** A line without so much of the white space that it begins with; of a tab what is left over stays as spaces. */
function dedented(line, columns) {
  let at = 0;
  let left = columns;
  for (; left > 0; at += 1) left -= line[at] === "\t" ? TAB.length : 1;
  return " ".repeat(-left) + line.slice(at);
}

const continues = (lines, at, indent) => {
  const next = lines.slice(at + 1, at + 3).find((line) => line.trim());
  return next !== undefined && next.length - next.trimStart().length >= indent;
};

function item(content, depth) {
  const task = /^\[([ xX])\] +(.*)$/s.exec(content[0]);
  if (task) content[0] = task[2];
  const [first, ...rest] = blocks(content, depth + 1);
  // A paragraph that begins an item is its text.
  const inside = first?.tagName === "P" ? [...first.childNodes, rest] : [first, rest];
  const box = task && h("input", { type: "checkbox", disabled: true, checked: task[1] !== " " });
  return h("li", { class: task ? "task" : undefined }, box, inside);
}

function cells(line) {
  const trimmed = line.trim().replace(/^\|/, "").replace(/\|$/, "");
  return trimmed.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

const beginsTable = (lines, at) => lines[at].includes("|") && Boolean(lines[at + 1]?.includes("|"))
  && cells(lines[at + 1]).every((cell) => RULED_CELL.test(cell));

function table(lines, at, nodes) {
  const head = cells(lines[at]);
  const sides = cells(lines[at + 1]).map((cell) => (cell.endsWith(":") ? (cell.startsWith(":") ? "center" : "right") : ""));
  // A short row is not filled up: a wide head over many empty rows would make the product of the two.
  const row = (tag, values) => h("tr", {}, values.slice(0, head.length).map((value, index) =>
    h(tag, { class: sides[index] || undefined }, inline(value))));
  const body = [];
  let next = at + 2;
  for (; next < lines.length && lines[next].trim() && lines[next].includes("|"); next += 1) body.push(row("td", cells(lines[next])));
  nodes.push(h("div", { class: "table", tabIndex: 0 }, h("table", {}, h("thead", {}, row("th", head)), h("tbody", {}, body))));
  return next;
}
