// What the page asks of its server.

const KEY = "foretell-key";

export class ApiError extends Error {
  constructor(status, message, code) {
    super(message);
    Object.assign(this, { status, code });
  }
}

export const setKey = (key) => sessionStorage.setItem(KEY, key);

async function send(method, path, body, signal) {
  const headers = {};
  const key = sessionStorage.getItem(KEY);
  if (key) headers.Authorization = `Bearer ${key}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "The server cannot be reached.");
  }
  if (!answer.ok) {
    const { message, code } = await answer.json().then((found) => found.error).catch(() => ({ message: answer.statusText }));
    throw new ApiError(answer.status, message, code);
  }
  return answer;
}

const json = async (method, path, body) => (await send(method, path, body)).json();
const at = (id) => `/api/conversations/${encodeURIComponent(id)}`;

export const models = async () => (await json("GET", "/v1/models")).data;
export const listConversations = async (query) =>
  (await json("GET", `/api/conversations?query=${encodeURIComponent(query)}`)).conversations;
export const createConversation = (fields) => json("POST", "/api/conversations", fields);
export const readConversation = (id) => json("GET", at(id));
export const changeConversation = (id, fields) => json("PATCH", at(id), fields);
export const deleteConversation = (id) => json("DELETE", at(id));
export const addMessage = (id, message) => json("POST", `${at(id)}/messages`, message);

export async function exportConversation(id, format) {
  const answer = await send("GET", `${at(id)}/export?format=${format}`);
  const name = /filename="([^"]+)"/.exec(answer.headers.get("content-disposition") || "");
  return { name: name ? name[1] : "conversation", data: await answer.blob() };
}

/** Chunks of a chat completion as they come; an error in the stream is thrown. */
export async function* streamChat(body, signal) {
  const answer = await send("POST", "/v1/chat/completions",
    { ...body, stream: true, stream_options: { include_usage: true } }, signal);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read().catch((error) => {
      if (error.name === "AbortError") throw error;
      return { done: true };
    });
    if (done) throw new ApiError(0, "The connection to the server was lost."); // the last event was not there
    held += value;
    const events = held.split("\n\n");
    held = events.pop();
    for (const event of events) {
      const data = event.replace(/^data: /, "");
      if (data === "[DONE]") return;
      const chunk = JSON.parse(data);
      if (chunk.error) throw new ApiError(500, chunk.error.message);
      yield chunk;
    }
  }
}
