// All people: to look at, to find, and to make two of them one by dragging one onto the other.

import { decide, done, get, knownNames, sentence } from "./api.js";
import { confirm, count, h, name as named, say, show, warn } from "./dom.js";
import { faceImage } from "./faces.js";

const fold = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLocaleLowerCase();

export async function mergePeople(into, others) {
  const names = others.map((each) => each.name).join(", ");
  const sure = await confirm(`Are ${names} and ${into.name} one person?`,
    `All their faces carry the name ${into.name} then, and ${names} finds the same person. Undo in History takes it back.`, "Yes, one person");
  if (!sure) return false;
  const fields = { do: "merge", persons: [into.id, ...others.map((each) => each.id)] };
  try {
    say(sentence((await decide(fields)).words));
    return true;
  } catch (failure) {
    if (failure.status !== 422) { warn(sentence(failure.message)); return failure.status === 409; }
    const still = await confirm("They were seen side by side", `${sentence(failure.message.split(/[.:] /)[0])}. Is it a mirror or a collage, and one person all the same?`, "Yes, one person all the same");
    return still && done({ ...fields, force: true });
  }
}

export async function peoplePage(main) {
  let people = [];
  let text = "";
  const chosen = new Set();
  const filter = h("input", { type: "search", id: "filter", dir: "auto", autocomplete: "off", oninput: () => { text = filter.value; draw(); } });
  const list = h("ul", { class: "people" });
  const summary = h("p", { class: "meta", role: "status" });
  const bar = h("section", { class: "chosen", "aria-label": "Chosen people", hidden: true });

  const mergeChosen = async () => {
    const [into, ...others] = [...chosen].map((id) => people.find((each) => each.id === id)).filter(Boolean);
    if (await mergePeople(into, others)) { chosen.clear(); await refresh(); }
  };

  function card(each) {
    const box = h("input", {
      type: "checkbox", checked: chosen.has(each.id), "aria-label": `Choose ${each.name}`,
      onchange: () => { if (box.checked) chosen.add(each.id); else chosen.delete(each.id); drawBar(); },
    });
    const item = h("li", {
      draggable: "true", data: { person: each.id },
      ondragstart: (event) => { event.dataTransfer.setData("text/x-person", String(each.id)); event.dataTransfer.effectAllowed = "link"; item.classList.add("dragged"); },
      ondragend: () => item.classList.remove("dragged"),
      ondragover: (event) => { if (event.dataTransfer.types.includes("text/x-person")) { event.preventDefault(); item.classList.add("over"); } },
      ondragleave: () => item.classList.remove("over"),
      ondrop: async (event) => {
        event.preventDefault();
        item.classList.remove("over");
        const other = people.find((one) => String(one.id) === event.dataTransfer.getData("text/x-person"));
        if (other && other.id !== each.id && await mergePeople(each, [other])) await refresh();
      },
    },
    h("a", { href: `#/person/${each.id}`, draggable: "false" },
      each.cover ? faceImage(each.cover, 224, { loading: "lazy", alt: "" }) : h("span", { class: "no-face" }, "no face yet"),
      h("span", { class: "who" }, named(each.name)),
      h("span", { class: "meta" }, count(each.faces, "face"), each.guesses ? `, ${count(each.guesses, "guess", "guesses")}` : "", each.hidden ? ", hidden" : "")),
    h("label", { class: "pick" }, box));
    return item;
  }

  function drawBar() {
    bar.hidden = chosen.size === 0;
    list.classList.toggle("choosing", chosen.size > 0);
    const [first] = chosen;
    const into = people.find((each) => each.id === first);
    show(bar, h("p", { class: "chosen-count", role: "status" }, `${count(chosen.size, "person", "people")} chosen`),
      h("div", { class: "actions" },
        chosen.size > 1 && into ? h("button", { type: "button", class: "main", onclick: mergeChosen }, "They are one: ", named(into.name)) : h("span", { class: "meta" }, "Choose another who is the same person"),
        h("button", { type: "button", onclick: () => { chosen.clear(); draw(); } }, "Choose none")));
  }

  function draw() {
    const sought = fold(text.trim());
    const found = people.filter((each) => [each.name, ...each.aliases].some((one) => fold(one).includes(sought)));
    summary.textContent = sought ? `${count(found.length, "person", "people")} of ${people.length}` : count(people.length, "person", "people");
    show(list, found.map(card));
    drawBar();
  }

  async function refresh() {
    const now = await get("/api/people");
    if (JSON.stringify(now) !== JSON.stringify(people)) { people = now; draw(); }
  }

  show(main, h("div", { class: "head" }, h("h1", {}, "People"), summary),
    h("div", { class: "tools" }, h("label", { for: "filter" }, "Find"), filter,
      h("p", { class: "meta" }, "Drag one onto another, or tick both, to make them one person.")),
    list, bar);
  await refresh();
  await knownNames();
  if (people.length === 0) show(list, h("li", { class: "empty" }, "Nobody is named yet. ", h("a", { href: "#/" }, "Answer some questions"), "."));
  return { title: "People", refresh };
}
