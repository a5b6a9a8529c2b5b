// What was decided, newest first; each can be taken back, and done again.

import { done, get } from "./api.js";
import { h, show } from "./dom.js";
import { faceImage } from "./faces.js";

const PAGE = 50;

export async function historyPage(main) {
  let wanted = PAGE;
  let known = "";
  const list = h("ol", { class: "events" });
  const more = h("button", { type: "button", onclick: async () => { wanted += PAGE; await refresh(); } }, "Show earlier ones");
  const take = (fields) => async ({ currentTarget: button }) => {
    button.disabled = true;
    if (!await done(fields)) button.disabled = false;
    await refresh();
  };

  function row(event) {
    const when = new Date(event.at);
    const turned = event.kind === "undo" || event.kind === "redo";
    let action = null;
    if (!turned && event.in_force) action = h("button", { type: "button", onclick: take({ do: "undo", event: event.event }), "aria-label": `Undo: ${event.words}` }, "Undo");
    else if (!turned) action = h("button", { type: "button", onclick: take({ do: "redo", event: event.event }), "aria-label": `Redo: ${event.words}` }, "Redo");
    return h("li", { class: event.in_force ? "" : "void", data: { event: event.event } },
      h("div", {}, h("p", { class: "what", dir: "auto" }, event.words, event.in_force ? null : h("span", { class: "tag" }, "taken back")),
        h("p", { class: "meta" }, h("time", { datetime: event.at }, when.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" })), ` · ${event.event}`)),
      h("div", { class: "strip" }, event.faces.map((face) => h("a", { href: `#/photo/${face.photo}`, "aria-label": `Open the photo ${face.file}` }, faceImage(face, 224, { loading: "lazy", alt: "" })))),
      action);
  }

  async function refresh() {
    const events = [];
    while (events.length < wanted) {
      const page = await get(`/api/history?count=${PAGE}&before=${events.at(-1)?.event ?? 0}`);
      events.push(...page);
      if (page.length < PAGE) break;
    }
    more.hidden = events.length < wanted;
    const text = JSON.stringify(events);
    if (text === known) return;
    known = text;
    show(list, events.length ? events.map(row) : h("li", { class: "empty" }, "Nothing was decided yet."));
  }

  show(main, h("div", { class: "head" }, h("h1", {}, "History"), h("p", { class: "meta" }, "Every decision, made here or by a command. Each can be taken back.")), list, more);
  await refresh();
  return { title: "History", refresh };
}
