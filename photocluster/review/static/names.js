// A field for a name, with the known ones to choose from: a combobox with a list, as the ARIA practices describe it.

import { knownNames, latestNames } from "./api.js";
import { h, name as named, show } from "./dom.js";

const MOST = 8;
let number = 0;

const fold = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLocaleLowerCase();

function matches(known, text) {
  const sought = fold(text.trim());
  if (!sought) return known.filter((each) => !each.hidden).slice(0, MOST);
  const rank = (each) => {
    const places = [each.name, ...each.aliases].map((one) => {
      const folded = fold(one);
      if (folded.startsWith(sought)) return 0;
      if (folded.split(/\s+/u).some((word) => word.startsWith(sought))) return 1;
      return folded.includes(sought) ? 2 : 9;
    });
    return Math.min(...places);
  };
  return known.map((each) => [rank(each), each]).filter(([place]) => place < 9)
    .sort((a, b) => a[0] - b[0]).slice(0, MOST).map(([, each]) => each);
}

export function nameField({ label, action, onname, onleave = () => {}, value = "", key = null, placeholder = null, main = false }) {
  const id = `name-${number += 1}`;
  const list = h("ul", { id: `${id}-list`, role: "listbox", "aria-label": "Known people", hidden: true });
  const input = h("input", {
    id, type: "text", value, placeholder, dir: "auto", autocomplete: "off", autocapitalize: "words", spellcheck: "false", maxlength: "200",
    role: "combobox", "aria-expanded": "false", "aria-controls": list.id, "aria-autocomplete": "list", enterkeyhint: "done",
    "aria-keyshortcuts": key,
  });
  let shown = [];
  let chosen = -1;
  let asked = 0;

  const close = () => {
    list.hidden = true;
    chosen = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };
  const mark = (place) => {
    chosen = place;
    [...list.children].forEach((option, i) => option.setAttribute("aria-selected", String(i === place)));
    if (place < 0) input.removeAttribute("aria-activedescendant");
    else {
      input.setAttribute("aria-activedescendant", `${id}-${place}`);
      list.children[place].scrollIntoView({ block: "nearest" });
    }
  };
  const suggest = (known) => {
    shown = matches(known, input.value);
    show(list, shown.map((each, i) => h("li", {
      id: `${id}-${i}`, role: "option", "aria-selected": "false",
      onpointerdown: (event) => { event.preventDefault(); give(each.name); },
    }, named(each.name), h("span", { class: "meta" }, each.faces.toLocaleString("en")))));
    list.hidden = shown.length === 0;
    input.setAttribute("aria-expanded", String(shown.length > 0));
    mark(-1);
  };
  const open = async () => {
    const turn = asked += 1;
    const before = latestNames();
    if (before.length) suggest(before);
    const known = await knownNames().catch(() => before);
    if (turn === asked && document.activeElement === input && known !== before && chosen < 0) suggest(known);
  };
  const give = (text) => {
    const given = text.trim();
    if (!given) return;
    close();
    asked += 1;
    input.value = "";
    onname(given);
  };
  input.addEventListener("input", open);
  input.addEventListener("focus", open);
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (list.hidden) open();
      else {
        const next = chosen + (event.key === "ArrowDown" ? 1 : -1);
        mark(next >= shown.length ? -1 : next < -1 ? shown.length - 1 : next);
      }
    } else if (event.key === "Escape") {
      event.stopPropagation();
      if (list.hidden) { input.value = ""; input.blur(); onleave(); } else close();
    }
  });
  const form = h("form", {
    class: "name",
    onsubmit: (event) => { event.preventDefault(); give(chosen >= 0 && shown[chosen] ? shown[chosen].name : input.value); },
  },
  h("label", { for: id }, label, key ? h("kbd", { "aria-hidden": "true" }, key) : null),
  h("div", { class: "combo" }, input, list),
  h("button", { type: "submit", class: main ? "main" : null }, action));
  return { element: form, input };
}
