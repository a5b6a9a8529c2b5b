// All people: to look at, to find, and to make two of them one by dragging one onto the other.

import { decide, done, get, sentence } from "./api.js";
import { confirm, count, h, name as named, say, show, warn } from "./dom.js";
import { faceImage } from "./faces.js";

const PAGE = 120;

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
  let wanted = PAGE;
  let order = "name";
  let known = "";
  let asked = 0;
  const chosen = new Map(); // id -> person, in the order in which they were ticked
  const filter = h("input", { type: "search", id: "filter", dir: "auto", autocomplete: "off", oninput: () => { wanted = PAGE; refresh().catch(failed); } });
  const orders = [["name", "A to Z"], ["faces", "Most faces"]].map(([value, words]) => h("button", {
    type: "button", "aria-pressed": String(value === order),
    onclick: () => {
      order = value;
      wanted = PAGE;
      orders.forEach((one, i) => one.setAttribute("aria-pressed", String(["name", "faces"][i] === order)));
      refresh().catch(failed);
    },
  }, words));
  const list = h("ul", { class: "people" });
  const more = h("button", { type: "button", hidden: true, onclick: () => { wanted += PAGE; refresh().catch(failed); } }, "Show more");
  const summary = h("p", { class: "meta", role: "status" });
  const bar = h("section", { class: "chosen", "aria-label": "Chosen people", hidden: true });
  const failed = (failure) => warn(sentence(failure.message));

  const mergeChosen = async () => {
    const [into, ...others] = chosen.values();
    if (await mergePeople(into, others)) { chosen.clear(); await refresh(); }
  };

  function card(each) {
    const box = h("input", {
      type: "checkbox", checked: chosen.has(each.id), "aria-label": `Choose ${each.name}`,
      onchange: () => { if (box.checked) chosen.set(each.id, each); else chosen.delete(each.id); drawBar(); },
    });
    const item = h("li", {
      draggable: "true", data: { person: each.id, text: JSON.stringify(each) },
      ondragstart: (event) => { event.dataTransfer.setData("text/x-person", String(each.id)); event.dataTransfer.effectAllowed = "link"; item.classList.add("dragged"); },
      ondragend: () => item.classList.remove("dragged"),
      ondragover: (event) => { if (event.dataTransfer.types.includes("text/x-person")) { event.preventDefault(); item.classList.add("over"); } },
      ondragleave: () => item.classList.remove("over"),
      ondrop: async (event) => {
        event.preventDefault();
        item.classList.remove("over");
        const other = shown.get(event.dataTransfer.getData("text/x-person"));
        if (other && other.id !== each.id && await mergePeople(each, [other])) await refresh();
      },
    },
    h("a", { href: `#/person/${each.id}`, draggable: "false" },
      each.cover ? faceImage(each.cover, 224, { loading: "lazy", alt: "" }) : h("span", { class: "no-face" }, "no face yet"),
      h("span", { class: "who", title: each.name }, named(each.name)),
      h("span", { class: "meta" }, count(each.faces, "face"), each.guesses ? `, ${count(each.guesses, "guess", "guesses")}` : "", each.hidden ? ", hidden" : "")),
    h("label", { class: "pick" }, box));
    return item;
  }

  function drawBar() {
    bar.hidden = chosen.size === 0;
    list.classList.toggle("choosing", chosen.size > 0);
    const [into] = chosen.values();
    show(bar, h("p", { class: "chosen-count", role: "status" }, `${count(chosen.size, "person", "people")} chosen`),
      h("div", { class: "actions" },
        chosen.size > 1 && into ? h("button", { type: "button", class: "main", onclick: mergeChosen }, "They are one: ", named(into.name)) : h("span", { class: "meta" }, "Choose another who is the same person"),
        h("button", { type: "button", onclick: () => { for (const box of list.querySelectorAll(":checked")) box.checked = false; chosen.clear(); drawBar(); } }, "Choose none")));
  }

  let shown = new Map();

  async function refresh() {
    const turn = asked += 1;
    const text = filter.value.trim();
    const people = [];
    let answer = null;
    do {
      answer = await get(`/api/people?q=${encodeURIComponent(text)}&order=${order}&first=${people.length}&count=${PAGE}`);
      people.push(...answer.people);
    } while (answer.people.length === PAGE && people.length < wanted);
    if (turn !== asked) return;
    const all = JSON.stringify([people, answer.total, text]);
    if (all === known) return;
    known = all;
    shown = new Map(people.map((each) => [String(each.id), each]));
    for (const each of people) if (chosen.has(each.id)) chosen.set(each.id, each);
    summary.textContent = `${count(answer.total, "person", "people")}${text ? " of that name" : ""}`;
    more.hidden = people.length >= answer.total;
    const there = new Map([...list.children].map((item) => [item.dataset.text, item]));
    if (people.length || text) show(list, people.map((each) => there.get(JSON.stringify(each)) ?? card(each)));
    else show(list, h("li", { class: "empty" }, "Nobody is named yet. ", h("a", { href: "#/" }, "Answer some questions"), "."));
    drawBar();
  }

  show(main, h("div", { class: "head" }, h("h1", {}, "People"), summary),
    h("div", { class: "tools line" }, h("label", { for: "filter" }, "Find"), filter,
      h("div", { class: "chips", role: "group", "aria-label": "Order" }, orders),
      h("p", { class: "meta" }, "Drag one onto another, or tick both, to make them one person.")),
    list, more, bar);
  await refresh();
  return { title: "People", refresh };
}
