// The conversation that is open: what is in it, and how answers come into it.

import * as api from "./api.js";
import * as settings from "./settings.js";
import { packed } from "./tokens.js";
import { branch } from "./tree.js";

const TITLE = 60;

/** The first line, cut between words. */
function titleOf(content) {
  const line = content.split("\n", 1)[0];
  return line.length <= TITLE ? line : `${line.slice(0, TITLE).replace(/\s+\S*$/, "")}…`;
}

export class Conversation {
  /** `changed` is called when the messages are others, `failed` with an error that ended an answer. */
  constructor({ changed, live, failed }) {
    Object.assign(this, { changed, live, failed });
    this.forget();
  }

  /** A new conversation, which the server does not know before its first message. */
  forget() {
    this.data = { id: null, title: "", system: "", model: "", settings: settings.kept(), leaf: null, messages: [] };
    this.abort = null;
  }

  async open(id) {
    this.stop();
    this.data = await api.readConversation(id);
  }

  get busy() {
    return this.abort !== null;
  }

  stop() {
    this.abort?.abort();
  }

  /** Change the title, the system message, the settings or the leaf, here and on the server. */
  async set(fields) {
    Object.assign(this.data, fields);
    if (this.data.id) await api.changeConversation(this.data.id, fields);
  }

  async add(role, content, parent, details = {}) {
    const data = this.data;
    if (!data.id) {
      data.title = titleOf(content);
      const { title, system, model } = data;
      data.id = (await api.createConversation({ title, system, model, settings: data.settings })).id;
    }
    const { id } = await api.addMessage(data.id, { role, content, parent, details });
    data.messages.push({ id, role, content, parent, details });
    data.leaf = id;
    return id;
  }

  /** Put a question after `parent` and have it answered. */
  async ask(content, parent, model) {
    await this.add("user", content, parent);
    await this.answer(model);
  }

  /** Have the branch that ends at the leaf answered. */
  async answer(model) {
    const data = this.data; // another one may be opened meanwhile
    const question = data.leaf;
    const abort = new AbortController();
    this.abort = abort;
    this.changed();
    const live = this.live();
    const found = { text: "", logprobs: [], finish: "stopped", tokens: 0, began: 0, ended: 0 };
    let failure = null;
    try {
      await this.read(this.body(model), abort.signal, found, live);
    } catch (error) {
      if (error.name !== "AbortError") failure = error;
    }
    try {
      if (found.text || (!failure && found.finish !== "stopped")) await this.store(data, question, model, found);
    } catch (error) {
      failure ??= error;
    }
    if (this.abort === abort) this.abort = null; // only now may other messages come
    if (this.data === data) this.changed();
    if (failure && this.data === data) this.failed(failure);
  }

  body(model) {
    const messages = branch(this.data).map(({ role, content }) => ({ role, content }));
    if (this.data.system.trim()) messages.unshift({ role: "system", content: this.data.system });
    return { model, messages, ...settings.sampling(this.data.settings) };
  }

  async read(body, signal, found, live) {
    for await (const chunk of api.streamChat(body, signal)) {
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

  async store(data, parent, model, found) {
    const seconds = Math.round(found.ended - found.began) / 1000;
    const details = { model, finish: found.finish, tokens: found.tokens, seconds };
    if (found.logprobs.length) details.logprobs = found.logprobs;
    const { id } = await api.addMessage(data.id, { role: "assistant", content: found.text, parent, details });
    data.messages.push({ id, role: "assistant", content: found.text, parent, details });
    data.leaf = id;
  }
}
