// One person, or one cluster: its faces, of which some can be moved, taken out, or left out.

import { done, get, knownNames, seen } from "./api.js";
import { button, confirm, count, h, name as named, show, typing, warn } from "./dom.js";
import { FaceGrid, captionOf, chosenBar, faceImage } from "./faces.js";
import { nameField } from "./names.js";
import { mergePeople } from "./people.js";

const PAGE = 200;

// What a page of a person and one of a cluster have in common: a grid that grows, and a bar for what is chosen.
function facesOf(path, label, caption) {
  const grid = new FaceGrid({ label, caption, onchange: (selection) => { bar?.update(selection); fit(selection); } });
  const more = h("button", { type: "button", onclick: async () => { wanted += PAGE; await load(); } }, "Show more");
  let bar = null;
  let fit = () => {};
  let wanted = PAGE;
  async function load() {
    let answer = null;
    const faces = [];
    for (let first = 0; first < wanted; first += PAGE) {
      answer = await get(`${path}?first=${first}&count=${PAGE}`);
      faces.push(...answer.faces);
      if (faces.length >= answer.total) break;
    }
    grid.show(faces);
    more.hidden = faces.length >= answer.total;
    more.textContent = `Show more of ${count(answer.total, "face")}`;
    return answer;
  }
  const about = () => ({ faces: grid.selection().map((face) => face.face), seen: seen(grid.selection()) });
  const act = async (fields) => {
    if (await done({ ...fields, ...about() })) { grid.clear(); return true; }
    return false;
  };
  return {
    grid, more, load, act, about,
    withBar(actions, onselection = () => {}) { bar = chosenBar(grid, actions); fit = onselection; return bar.element; },
  };
}

export async function personPage(main, [id]) {
  const number = Number(id);
  const faces = facesOf(`/api/person/${number}`, "Faces", (face) => captionOf({ ...face, name: null }));
  let person = null;
  const head = h("div", { class: "head person" });
  let drawn = "";

  const reload = async () => { await refresh(); };
  const act = async (fields) => { if (await faces.act(fields)) await reload(); };
  const move = nameField({ label: "Give to", placeholder: "Give to …", action: "Give", onname: (name) => act({ do: "move", name }) });
  const right = h("button", { type: "button", onclick: () => act({ do: "accept" }) }, "The guess is right");
  const asCover = h("button", { type: "button", onclick: () => cover() }, "Use as cover");
  const bar = faces.withBar([
    move.element,
    right,
    button("Not this person", "N", () => act({ do: "reject", person: number })),
    h("button", { type: "button", onclick: () => act({ do: "split", person: number }) }, "Somebody new"),
    button("Not a face", "X", () => act({ do: "ignore", kind: "not-a-face" })),
    button("Leave out", "I", () => act({ do: "ignore", kind: "stranger" })),
    asCover,
  ], (selection) => {
    right.hidden = !selection.some((face) => face.source !== "user");
    asCover.hidden = selection.length !== 1;
  });

  async function cover() {
    const [first] = faces.grid.selection();
    if (await done({ do: "cover", face: first.face, seen: seen([first]) })) { faces.grid.clear(); await reload(); }
  }
  async function lookForParts() {
    const sure = await confirm(`Are these faces several people?`, "photocluster looks for clusters among them. The largest keeps the name; each other becomes a new person, which you can rename or take back.", "Look for clusters");
    if (sure && await done({ do: "split", person: number })) await reload();
  }
  function rename() {
    const field = nameField({
      label: "New name", action: "Rename", value: person.name,
      onname: async (name) => { if (await done({ do: "rename", person: number, name })) { drawn = ""; await reload(); } },
      onleave: () => { drawn = ""; draw(); },
    });
    show(head.querySelector(".buttons"), field.element);
    field.input.focus();
    field.input.select();
  }
  function merge() {
    const field = nameField({
      label: "The same person as", action: "Merge",
      onname: async (name) => {
        const known = await knownNames();
        const other = known.find((each) => [each.name, ...each.aliases].includes(name));
        if (!other || other.id === number) {
          warn(other ? `${name} is this person` : `Nobody is called ${name}. To give this person that name, use Rename`);
          drawn = "";
          draw();
          return;
        }
        if (await mergePeople(other, [person])) location.hash = `#/person/${other.id}`;
      },
      onleave: () => { drawn = ""; draw(); },
    });
    show(head.querySelector(".buttons"), field.element);
    field.input.focus();
  }

  function draw() {
    const text = JSON.stringify({ ...person, faces: null });
    if (text === drawn) return;
    drawn = text;
    show(head,
      person.shown ? faceImage(person.shown, 224, { class: "cover", alt: "" }) : null,
      h("div", {},
        h("h1", { tabindex: "-1" }, named(person.name)),
        h("p", { class: "meta" }, `${count(person.total, "face")} in ${count(person.photos, "photo")}`,
          person.aliases.length ? [" · also ", named(person.aliases.join(", "))] : null,
          person.born ? ` · born ${person.born}` : null, person.hidden ? " · hidden" : null),
        person.note ? h("p", { class: "meta", dir: "auto" }, person.note) : null,
        h("div", { class: "buttons" },
          person.guesses ? h("button", { type: "button", class: "main", onclick: async () => { if (await done({ do: "accept", person: number })) await reload(); } }, `All ${count(person.guesses, "guess", "guesses")} are right`) : null,
          h("button", { type: "button", onclick: rename }, "Rename"),
          h("button", { type: "button", onclick: merge }, "Merge …"),
          h("button", { type: "button", onclick: lookForParts }, "Split …"),
          h("button", { type: "button", onclick: async () => { if (await done({ do: "hide", person: number, hidden: !person.hidden })) await reload(); } }, person.hidden ? "Show in lists" : "Hide"))));
  }

  async function refresh() {
    person = await faces.load();
    draw();
    document.title = `${person.name} – photocluster`;
  }

  show(main, head, h("p", { class: "meta" }, "Guesses come first, and of each the faces least like the others. Choose those that are wrong."),
    faces.grid.element, faces.more, bar);
  await refresh();
  const keys = {
    n: () => act({ do: "reject", person: number }), x: () => act({ do: "ignore", kind: "not-a-face" }), i: () => act({ do: "ignore", kind: "stranger" }),
  };
  return { title: person.name, refresh, key: (event) => chosenKey(event, faces.grid, keys) };
}

function chosenKey(event, grid, keys) {
  const action = keys[event.key.toLowerCase()];
  if (!action || typing(event) || event.repeat || grid.chosen.size === 0) return;
  event.preventDefault();
  action();
}

export async function clusterPage(main, [id]) {
  const number = Number(id);
  const faces = facesOf(`/api/cluster/${number}`, `Faces of cluster ${number}`, captionOf);
  const summary = h("p", { class: "meta", role: "status" });
  const act = async (fields) => { if (await faces.act(fields)) await refresh(); };
  const whole = nameField({
    label: "Who is this?", action: "Name them all", key: "Enter", main: true,
    onname: async (name) => { if (await done({ do: "label", cluster: number, name })) { whole.input.blur(); await refresh(); } },
  });
  const part = nameField({ label: "These are", placeholder: "These are …", action: "Name", onname: (name) => act({ do: "split", cluster: number, name }) });
  const bar = faces.withBar([
    part.element,
    h("button", { type: "button", onclick: () => act({ do: "split", cluster: number }) }, "Take out: somebody else"),
    button("Not a face", "X", () => act({ do: "ignore", kind: "not-a-face" })),
    button("Leave out", "I", () => act({ do: "ignore", kind: "stranger" })),
  ]);
  async function refresh() {
    const cluster = await faces.load();
    summary.textContent = `${count(cluster.total, "face")}, ${cluster.unnamed.toLocaleString("en")} without a name`;
  }
  show(main, h("div", { class: "head" }, h("h1", { tabindex: "-1" }, `Cluster ${number}`), summary),
    h("div", { class: "tools" }, whole.element,
      h("button", { type: "button", onclick: async () => { if (await done({ do: "ignore", cluster: number, kind: "stranger" })) location.hash = "#/clusters"; } }, "Nobody I know: leave them out")),
    faces.grid.element, faces.more, bar);
  await refresh();
  const keys = { x: () => act({ do: "ignore", kind: "not-a-face" }), i: () => act({ do: "ignore", kind: "stranger" }) };
  return {
    title: `Cluster ${number}`, refresh,
    key: (event) => {
      const free = !(event.target instanceof Element && event.target.closest("button, a, li[role=option]"));
      if (event.key === "Enter" && free && !typing(event)) { event.preventDefault(); whole.input.focus(); } else chosenKey(event, faces.grid, keys);
    },
  };
}

export async function clustersPage(main) {
  let wanted = 60;
  let known = "";
  const list = h("ul", { class: "clusters" });
  const summary = h("p", { class: "meta", role: "status" });
  const more = h("button", { type: "button", onclick: async () => { wanted += 60; await refresh(); } }, "Show more");
  async function refresh() {
    const answer = await get(`/api/clusters?count=${wanted}`);
    const text = JSON.stringify(answer);
    if (text === known) return;
    known = text;
    summary.textContent = answer.total ? `${count(answer.total, "cluster")} with faces that have no name, those with most first` : "Every cluster has a name, or nothing was clustered yet";
    more.hidden = answer.clusters.length >= answer.total || wanted >= PAGE;
    show(list, answer.clusters.map((each) => h("li", {},
      h("a", { href: `#/cluster/${each.number}` },
        h("span", { class: "strip" }, each.samples.map((face) => faceImage(face, 224, { loading: "lazy", alt: "" }))),
        h("span", { class: "who" }, `Cluster ${each.number}`),
        h("span", { class: "meta" }, `${count(each.unnamed, "face")} without a name`, each.names.length ? [", others: ", named(each.names.join(", "))] : null)))));
  }
  show(main, h("div", { class: "head" }, h("h1", {}, "Unnamed clusters"), summary), list, more);
  await refresh();
  return { title: "Unnamed clusters", refresh };
}
