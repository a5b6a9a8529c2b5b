// What the server is asked, and being told of changes.

import { say, warn } from "./dom.js";

export class Failure extends Error {
  constructor(status, words) {
    super(words);
    this.status = status;
  }
}

async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Failure(0, options.method === "POST"
      ? "The server does not answer, and this was not stored. Start photocluster review again, and open its new address"
      : "The server does not answer: was photocluster review ended? What you decided is stored");
  }
  const value = answer.headers.get("content-type")?.startsWith("application/json") ? await answer.json() : null;
  if (!answer.ok || value === null) throw new Failure(answer.status, value?.error ?? "This page is of a server that has ended. Open the new address");
  return value;
}

export const get = (path) => ask(path, {});

const post = (fields) => ask("/api/decide", {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(fields),
});

// Name what is surely like named faces. It takes seconds, and nothing waits for it.
export const nameTheSure = () => post({ do: "name-the-sure" });

const LONG = 700; // milliseconds after which one is told that something is being done
let last = Promise.resolve();

// One decision after the other, in the order in which they were made.
export function decide(fields) {
  const request = () => post(fields);
  const answer = last.then(request, request);
  const patience = setTimeout(() => say("One moment …"), LONG);
  last = answer.catch(() => {}).finally(() => clearTimeout(patience));
  return answer;
}

// Decide and say what came of it: the answer if it was done, or is void by now (then without an event), else null.
export async function done(fields) {
  try {
    const answer = await decide(fields);
    say(answer.event === null ? "Nothing changed" : sentence(answer.words));
    return answer;
  } catch (failure) {
    warn(sentence(failure.message));
    return failure.status === 409 ? { event: null } : null;
  }
}

export const sentence = (words) => words.charAt(0).toUpperCase() + words.slice(1);

export const seen = (faces) => Object.fromEntries(faces.map((face) => [face.face, face.name]));

let names = null;
let latest = [];

// The persons, for typing ahead: as they are, and as they were when somebody asked last, which takes no time.
export function knownNames() {
  names ??= get("/api/names").then((answer) => { latest = answer; return answer; }, (failure) => { names = null; throw failure; });
  return names;
}
export const latestNames = () => latest;

// Call back whenever something was decided, here or elsewhere.
export function onChange(callback) {
  const source = new EventSource("/api/changes");
  let first = true;
  let lost = false;
  source.onmessage = () => {
    if (lost) warn("");
    lost = false;
    names = null;
    if (!first) callback();
    first = false;
  };
  source.onerror = () => {
    const closed = source.readyState === EventSource.CLOSED;
    if (lost && !closed) return; // it tries again and again; once is enough
    lost = true;
    warn(closed
      ? "This page is of a photocluster review that has ended. What you decided is stored. Open the new address"
      : "The server does not answer: was photocluster review ended? What you decided is stored");
  };
}
