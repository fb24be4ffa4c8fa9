// The conversation that is open: what is in it, and how answers come into it.

import * as api from "./api.js";
import * as settings from "./settings.js";
import { packed } from "./tokens.js";
import { branch } from "./tree.js";

const TITLE = 60;
const TOO_LONG = "context_length_exceeded";

/** The first line, cut between words. */
function titleOf({ content, images }) {
  const line = content.split("\n", 1)[0] || (images.length > 1 ? "Images" : "Image");
  return line.length <= TITLE ? line : `${line.slice(0, TITLE).replace(/\s+\S*$/, "")}…`;
}

export class Conversation {
  /**
   * `on.busy` is called when work begins or ends, `on.changed` when the messages are others, `on.live` for what shows
   * an answer as it comes, `on.failed` with the error that ended one and the question it was for.
   */
  constructor(on) {
    this.on = on;
    this.forget();
  }

  /** Leave for another one. What is being answered stops, and is kept where it belongs. */
  enter(data) {
    this.stop();
    this.work = null;
    this.data = data;
  }

  /** A new conversation, which the server does not know before its first message. */
  forget() {
    this.enter({ id: null, title: "", system: "", model: "", settings: settings.kept(), leaf: null, messages: [] });
  }

  async open(id) {
    this.stop();
    this.enter(await api.readConversation(id));
  }

  get busy() {
    return this.work !== null;
  }

  stop() {
    this.work?.abort();
  }

  /** Change the title, the system message, the model, the settings or the leaf, here and on the server. */
  set(fields) {
    return change(this.data, fields);
  }

  /** Put a question with its images after `parent` and have it answered. */
  ask({ content, images }, parent, model) {
    return this.alone(async (data, signal) => {
      await settle(data, { model });
      const question = await add(data, { role: "user", content, images, parent, details: {} });
      await this.stream(data, question, signal);
    });
  }

  /** Have a question answered, beside the answers that it has. */
  answer(question, model) {
    return this.alone(async (data, signal) => {
      await settle(data, { model, leaf: question });
      await this.stream(data, question, signal);
    });
  }

  /** Do what no other work may run beside; it is known before anything is waited for, so that a second click finds it. */
  async alone(work) {
    if (this.busy) return;
    const mine = new AbortController();
    this.work = mine;
    this.on.busy();
    try {
      await work(this.data, mine.signal);
    } finally {
      if (this.work === mine) this.work = null;
      this.on.busy();
    }
  }

  async stream(data, question, signal) {
    const isOpen = () => this.data === data;
    if (!isOpen()) return;
    this.on.changed();
    const found = { text: "", logprobs: [], finish: "stopped", tokens: 0, began: 0, ended: 0 };
    let failure = null;
    try {
      await read(bodyOf(data), signal, found, this.on.live());
    } catch (error) {
      if (error.name !== "AbortError") failure = error;
    }
    try {
      if (found.text || (!failure && found.finish !== "stopped")) await add(data, answerOf(data, question, found));
    } catch (error) {
      failure ??= error;
    }
    if (!isOpen()) return;
    this.on.changed();
    if (failure) this.on.failed(failure, question);
  }
}

async function change(data, fields) {
  Object.assign(data, fields);
  if (data.id) await api.changeConversation(data.id, fields);
}

/** Change only where something is different. */
async function settle(data, fields) {
  if (Object.keys(fields).some((name) => data[name] !== fields[name])) await change(data, fields);
}

/** Put a message into a conversation, which is made with its first. */
async function add(data, message) {
  if (!data.id) {
    data.title = titleOf(message);
    const { title, system, model } = data;
    data.id = (await api.createConversation({ title, system, model, settings: data.settings })).id;
  }
  const { id } = await api.addMessage(data.id, message);
  data.messages.push({ id, ...message });
  data.leaf = id;
  return id;
}

/** What the model is given of a message: its images before its words. */
function partsOf({ content, images }) {
  if (!images.length) return content;
  const parts = images.map((url) => ({ type: "image_url", image_url: { url } }));
  return content ? [...parts, { type: "text", text: content }] : parts;
}

function bodyOf(data) {
  const messages = branch(data).map((message) => ({ role: message.role, content: partsOf(message) }));
  if (data.system.trim()) messages.unshift({ role: "system", content: data.system });
  return { model: data.model, messages, ...settings.sampling(data.settings) };
}

/** The chunks of an answer, as long as it may be or as the context has room for. */
async function* chunksOf(body, signal) {
  try {
    yield* api.streamChat(body, signal);
  } catch (error) {
    if (error.code !== TOO_LONG) throw error;
    if (body.max_tokens !== undefined) yield* chunksOf({ ...body, max_tokens: undefined }, signal); // which is less
    else throw new api.ApiError(error.status, error.message.replace(/\.$/, ": shorten a message, or begin a new conversation."));
  }
}

async function read(body, signal, found, live) {
  for await (const chunk of chunksOf(body, signal)) {
    if (chunk.usage) found.tokens = chunk.usage.completion_tokens;
    const choice = chunk.choices[0];
    if (!choice) continue;
    if (choice.logprobs) found.logprobs.push(...packed(choice.logprobs.content));
    if (choice.finish_reason) found.finish = choice.finish_reason;
    if (!choice.delta.content) continue;
    found.began ||= performance.now();
    found.ended = performance.now();
    found.text += choice.delta.content;
    live.show(found.text);
  }
}

function answerOf({ model }, parent, found) {
  const seconds = Math.round(found.ended - found.began) / 1000;
  const details = { model, finish: found.finish, tokens: found.tokens, seconds };
  if (found.logprobs.length) details.logprobs = found.logprobs;
  return { role: "assistant", content: found.text, images: [], parent, details };
}
