/* The contact sheet's script: search, sorting, filtering, and the whole photo with its faces. It asks for nothing but
   pictures, and puts text from outside into the page as text, never as HTML. */

"use strict";

(() => {
  const $ = (selector, within = document) => within.querySelector(selector);
  const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];
  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  const letters = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
  const count = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;

  for (const element of $$("[data-needs-script]")) element.hidden = false;

  /* Search: everybody, from any page. */

  const search = $("#search");
  const results = $("#results");
  const said = $("#said");
  const MOST = 12;
  let chosen = -1;

  function find() {
    const words = letters(search.value).split(/\s+/).filter(Boolean);
    const found = words.length
      ? (window.photoclusterSheet || []).filter(([, key]) => words.every((word) => key.includes(word)))
      : [];
    chosen = -1;
    results.replaceChildren(
      ...found.slice(0, MOST).map(([title, , page, faces], number) =>
        make(
          "li",
          { id: `result-${number}`, role: "option" },
          make("a", { href: page, tabIndex: -1 }, make("bdi", { textContent: title }), ` ${count(faces, "face")}`),
        ),
      ),
    );
    results.hidden = !found.length;
    search.setAttribute("aria-expanded", String(found.length > 0));
    search.removeAttribute("aria-activedescendant");
    said.textContent = !words.length
      ? ""
      : found.length > MOST
        ? `${count(found.length, "match").replace("matchs", "matches")}, the first ${MOST} are listed`
        : found.length
          ? `${found.length} found`
          : "Nobody of that name";
    said.classList.toggle("unseen", found.length > 0 && found.length <= MOST);
  }

  function choose(step) {
    const options = $$("li", results);
    if (!options.length) return;
    options[chosen]?.removeAttribute("aria-selected");
    chosen = (chosen + step + options.length) % options.length;
    options[chosen].setAttribute("aria-selected", "true");
    options[chosen].scrollIntoView({ block: "nearest" });
    search.setAttribute("aria-activedescendant", options[chosen].id);
  }

  if (search) {
    search.addEventListener("input", find);
    search.addEventListener("keydown", (event) => {
      if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        event.preventDefault();
        choose(event.key === "ArrowDown" ? 1 : chosen < 0 ? 0 : -1);
      } else if (event.key === "Enter") {
        $("a", $$("li", results)[Math.max(chosen, 0)] || make("p"))?.click();
      } else if (event.key === "Escape") {
        search.value = "";
        find();
      }
    });
    document.addEventListener("keydown", (event) => {
      const typing = event.target instanceof HTMLInputElement;
      if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !$("dialog[open]")) {
        event.preventDefault();
        search.focus();
      }
    });
  }

  /* Sorting the people. */

  const people = $("ul.people");
  for (const button of $$("[data-sort]")) {
    button.addEventListener("click", () => {
      const cards = $$(":scope > li", people);
      const alphabet = (a, b) => Number(a.dataset.place) - Number(b.dataset.place);
      const size = (a, b) => Number(b.dataset.faces) - Number(a.dataset.faces) || alphabet(a, b);
      people.append(...cards.sort(button.dataset.sort === "faces" ? size : alphabet));
      for (const other of $$("[data-sort]")) other.setAttribute("aria-pressed", String(other === button));
    });
  }

  /* Filtering the faces of a page. */

  const filter = $("#filter");
  if (filter) {
    const faces = $$("ul.faces > li").map((item) => [item, letters(item.textContent.replace(/\s+/g, " "))]);
    const shown = $("#filtered");
    filter.addEventListener("input", () => {
      const words = letters(filter.value).split(/\s+/).filter(Boolean);
      let left = 0;
      for (const [item, text] of faces) {
        item.hidden = !words.every((word) => text.includes(word));
        left += item.hidden ? 0 : 1;
      }
      for (const section of $$("section.group")) section.hidden = !$("ul.faces > li:not([hidden])", section);
      shown.textContent = words.length ? `${left} of ${count(faces.length, "face")} on this page` : "";
    });
  }

  /* The whole photo. */

  const pictures = JSON.parse($("#pictures")?.textContent || "{}");
  const dialog = $("#photo");
  let links = [];
  let here = 0;

  function box(face, current) {
    const [id, left, top, width, height, name, page] = face;
    const element = make(page ? "a" : "span", { className: "box" });
    if (page) element.href = id === null ? page : `${page}#face-${id}`;
    if (id === null) element.classList.add("kept");
    if (id === current) element.classList.add("current");
    const label = make("span", { className: "label" }, make("bdi", { textContent: name ?? "Nobody yet" }));
    if (top < 0.12) label.classList.add("below");
    element.append(label);
    for (const [property, value] of Object.entries({ left, top, width, height })) {
      element.style.setProperty(property, `${100 * value}%`);
    }
    return element;
  }

  function show(number) {
    here = (number + links.length) % links.length;
    const link = links[here];
    const picture = pictures[link.dataset.picture];
    const current = Number(link.dataset.face);
    const frame = $(".frame", dialog);
    const [width, height] = picture.size;
    frame.style.setProperty("aspect-ratio", `${width} / ${height}`);
    frame.style.setProperty("--ratio", String(width / height));
    frame.style.setProperty("--width", String(width));
    const problem = make("p", { className: "problem", hidden: true });
    const image = make("img", { alt: `The photo ${picture.file}` });
    const fail = () => {
      image.hidden = true;
      problem.hidden = false;
      problem.textContent = "The photo cannot be shown: its file is not here, or not of a kind that browsers show.";
    };
    image.addEventListener("error", fail);
    frame.replaceChildren(image, problem, ...[...picture.faces, ...picture.places].map((face) => box(face, current)));
    if (picture.src) image.src = picture.src;
    else fail();
    $(".about", dialog).replaceChildren(
      make("strong", {}, make("bdi", { textContent: picture.file })),
      ...picture.about.map((text) => make("span", { textContent: text })),
      ...(picture.link ? [make("a", { href: picture.link, textContent: "Open the file", title: picture.path })] : []),
    );
    $(".place", dialog).textContent = `${here + 1} of ${links.length}`;
    const names = picture.faces.map((face) => face[5]).filter(Boolean);
    dialog.setAttribute("aria-label", `Photo ${picture.file}${names.length ? `, with ${names.join(", ")}` : ""}`);
  }

  if (dialog) {
    document.addEventListener("click", (event) => {
      const link = event.target.closest?.("a[data-picture]");
      if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
      if (!pictures[link.dataset.picture]) return;
      event.preventDefault();
      links = $$("a[data-picture]").filter((each) => !each.closest("[hidden]") && pictures[each.dataset.picture]);
      show(links.indexOf(link));
      dialog.showModal();
    });
    $(".previous", dialog).addEventListener("click", () => show(here - 1));
    $(".following", dialog).addEventListener("click", () => show(here + 1));
    document.addEventListener("keydown", (event) => {
      if (!dialog.open) return;
      if (event.key === "ArrowLeft") show(here - 1);
      else if (event.key === "ArrowRight") show(here + 1);
      else return;
      event.preventDefault();
    });
    dialog.addEventListener("click", (event) => {
      const chosenBox = event.target.closest?.("a.box");
      if (event.target === dialog || (chosenBox && new URL(chosenBox.href).pathname === location.pathname)) dialog.close();
    });
    dialog.addEventListener("close", () => links[here]?.focus());
  }
})();
