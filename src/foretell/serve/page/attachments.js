// Images that go with the next message: picked, pasted or dropped, shown above the field until it is sent.

import { byId, h, icon, iconButton } from "./dom.js";
import { pictureOf } from "./pictures.js";

const list = byId("attachments");
const picker = byId("attach-files");
const MOST_TOGETHER = 20 * 2 ** 20; // characters of their addresses, well below what a request may have
let offered = false;
let attached = []; // {name, url}
let pending = 0;
let changed = () => {};

/** `tell` is called whenever there are others. */
export function prepareAttachments(tell) {
  changed = tell;
  byId("attach").append(icon("image"));
  byId("attach").addEventListener("click", () => picker.click());
  picker.addEventListener("change", () => {
    attach([...picker.files]);
    picker.value = ""; // so that the same file can be picked again; this empties its list
  });
  document.addEventListener("paste", (event) => {
    const files = imagesOf(event.clipboardData);
    const elsewhere = event.target.closest("input, .editor, dialog");
    if (!offered || elsewhere || !files.length || event.clipboardData.types.includes("text/plain")) return; // cells of a table are both
    event.preventDefault();
    attach(files);
    byId("composer-text").focus();
  });
  prepareDropping();
}

/** Show or hide all of it: a model may read text alone. */
export function offerAttachments(reads) {
  offered = reads;
  byId("attach").hidden = !reads;
  if (!reads) clear();
}

export const attachments = () => attached.map(({ url }) => url);
export const attaching = () => pending > 0;

/** The images of the message that is being sent, which are there no more. */
export function takeAttachments() {
  const taken = attachments();
  clear();
  return taken;
}

function clear() {
  attached = [];
  draw();
}

const imagesOf = (transfer) => [...(transfer?.files || [])].filter((file) => file.type.startsWith("image/"));

async function attach(files) {
  note("");
  pending += 1;
  changed();
  for (const file of files) { // one after the other, for a large one takes a lot of memory
    try {
      const url = await pictureOf(file);
      if (!offered) break;
      if (attached.reduce((sum, one) => sum + one.url.length, url.length) > MOST_TOGETHER) {
        throw new Error(`${file.name || "The image"} is too much: the images of a message are too large together.`);
      }
      attached.push({ name: file.name || "Image", url });
      byId("status").textContent = `${file.name || "The image"} is added to the message.`;
    } catch (error) {
      note(error.message);
    }
  }
  pending -= 1;
  draw();
}

function note(sentence) {
  byId("attach-note").textContent = sentence;
  byId("attach-note").hidden = !sentence;
}

function draw() {
  list.replaceChildren(...attached.map((one, index) => h("li", { class: "attachment" },
    h("img", { src: one.url, alt: one.name, title: one.name }),
    iconButton("close", `Remove ${one.name}`, () => remove(index)))));
  list.hidden = !attached.length;
  changed();
}

/** Take one away; the next one's button has the focus then, or the field. */
function remove(index) {
  byId("status").textContent = `${attached[index].name} is removed.`;
  attached.splice(index, 1);
  note("");
  draw();
  const buttons = list.querySelectorAll("button");
  (buttons[Math.min(index, buttons.length - 1)] || byId("composer-text")).focus();
}

function prepareDropping() {
  const { classList } = document.body;
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files") && !byId("dialog").open;
  document.addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault(); // or the browser would leave the page for the file
    event.dataTransfer.dropEffect = offered ? "copy" : "none";
    classList.toggle("dropping", offered);
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) classList.remove("dropping");
  });
  document.addEventListener("drop", (event) => {
    classList.remove("dropping");
    if (!hasFiles(event)) return;
    event.preventDefault();
    if (!offered) return;
    const files = imagesOf(event.dataTransfer);
    if (files.length) attach(files);
    else note("Images alone can be dropped here.");
    byId("composer-text").focus();
  });
}
