// Photos by who is in them: "Ann + Ben - Carl".

import { get, knownNames, sentence } from "./api.js";
import { count, day, h, name as named, show } from "./dom.js";
import { photoImage } from "./faces.js";

const PAGE = 120;
const PEOPLE = 12;

export async function searchPage(main, _args, _progress, query) {
  let wanted = PAGE;
  const asked = query.get("q") ?? "";
  const input = h("input", { type: "search", id: "query", value: asked, dir: "auto", autocomplete: "off", spellcheck: "false", "aria-describedby": "how", enterkeyhint: "search" });
  const summary = h("p", { role: "status" });
  const list = h("ul", { class: "photos" });
  const chips = h("div", { class: "chips", role: "group", "aria-label": "Add a person" });
  const more = h("button", { type: "button", hidden: true, onclick: async () => { wanted += PAGE; await refresh(); } }, "Show more");
  const go = (text) => { location.hash = `#/search?q=${encodeURIComponent(text)}`; };

  async function refresh() {
    const known = await knownNames();
    show(chips, known.filter((each) => !each.hidden).slice(0, PEOPLE).map((each) => h("button", {
      type: "button", onclick: () => { go(input.value.trim() ? `${input.value.trim()} + ${each.name}` : each.name); },
    }, named(each.name))));
    if (!asked.trim()) {
      summary.textContent = "";
      show(list);
      return;
    }
    const photos = [];
    let answer = null;
    try {
      do {
        answer = await get(`/api/search?q=${encodeURIComponent(asked)}&first=${photos.length}&count=${PAGE}`);
        photos.push(...answer.photos);
      } while (photos.length < Math.min(wanted, answer.total));
    } catch (failure) {
      summary.textContent = sentence(failure.message);
      show(list);
      return;
    }
    summary.textContent = count(answer.total, "photo");
    more.hidden = photos.length >= answer.total;
    show(list, photos.map((each) => {
      return h("li", {}, h("a", { href: `#/photo/${each.photo}` }, photoImage(each.photo, `${each.file}: ${each.persons.join(", ")}`), h("span", { class: "meta" }, day(each.date) || named(each.file))));
    }));
  }

  show(main, h("div", { class: "head" }, h("h1", {}, "Search")),
    h("form", { class: "search", role: "search", onsubmit: (event) => { event.preventDefault(); go(input.value); } },
      h("label", { for: "query" }, "Who is to be in the photo?"), h("div", { class: "combo" }, input), h("button", { type: "submit", class: "main" }, "Search"),
      h("p", { class: "meta", id: "how" }, "Ann + Ben - Carl: with Ann and Ben, without Carl")),
    chips, summary, list, more);
  await refresh();
  if (!asked) input.focus();
  return { title: asked ? `${asked} – search` : "Search", refresh };
}
