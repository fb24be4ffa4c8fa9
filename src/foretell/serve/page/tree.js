// A conversation is a tree of messages; what is read is the branch that ends at its leaf.

/** Messages from the first to the leaf. */
export function branch(conversation) {
  const byId = new Map(conversation.messages.map((message) => [message.id, message]));
  const found = [];
  for (let at = byId.get(conversation.leaf); at; at = byId.get(at.parent)) found.push(at);
  return found.reverse();
}

/** A message and those that stand in its place on other branches, in order of time. */
export const siblings = (conversation, message) =>
  conversation.messages.filter((other) => other.parent === message.parent);

/** The latest message of the branch below one. */
export function latestBelow(conversation, message) {
  let at = message;
  for (;;) {
    const children = conversation.messages.filter((other) => other.parent === at.id);
    if (!children.length) return at;
    at = children[children.length - 1];
  }
}
