// Faces in a grid, of which several can be chosen: by click, shift and drag, or by the keyboard.

import { sentence } from "./api.js";
import { count, day, h, name as named, show } from "./dom.js";

export const picture = (face, wide) => `/face/${face.face}/${wide}?v=${face.v}`;
export const around = (face) => `/round/${face.face}/1600`; // its photo, or its frame of a video

// A picture that cannot be had gives way to one that says so; `told` is called with the reason.
function orPlaceholder(image, told = null) {
  image.addEventListener("error", async () => {
    image.classList.add("broken");
    const address = image.src;
    image.src = "/static/no-picture.svg";
    image.alt = `No picture: ${image.alt}`;
    if (told) told(await fetch(address).then((answer) => answer.json()).then((value) => value.error, () => ""));
  }, { once: true });
  return image;
}

export function faceImage(face, wide, props = {}) {
  const words = [face.name ? `Face of ${face.name}` : "Face", face.file && `in ${face.file}`, day(face.date)];
  return orPlaceholder(h("img", {
    src: picture(face, wide), alt: words.filter(Boolean).join(", "), width: wide, height: wide, decoding: "async",
    draggable: "false", ...props,
  }));
}

export const photoImage = (hash, alt) => orPlaceholder(h("img", { src: `/photo/${hash}/400`, alt, loading: "lazy", decoding: "async" }));

// A face's photo, or its frame of a video, with a frame round each face of `frames`: [box, element].
export function photoFigure(face, frames) {
  const figure = h("div", { class: "framed" });
  figure.style.setProperty("--wide", face.width);
  figure.style.setProperty("--ratio", face.width / face.height);
  const image = h("img", { src: around(face), alt: `The photo ${face.file}`, width: face.width, height: face.height, decoding: "async" });
  orPlaceholder(image, (why) => figure.replaceWith(h("p", { class: "problem" }, "The photo cannot be shown. ", sentence(why || "Its file is not there"))));
  for (const [box, frame] of frames) place(frame, box);
  show(figure, image, frames.map(([, frame]) => frame));
  return figure;
}

function place(element, [x0, y0, x1, y1]) {
  const limit = (value) => Math.min(1, Math.max(0, value));
  element.style.left = `${100 * limit(x0)}%`;
  element.style.top = `${100 * limit(y0)}%`;
  element.style.width = `${100 * (limit(x1) - limit(x0))}%`;
  element.style.height = `${100 * (limit(y1) - limit(y0))}%`;
}

const DRAG = 6; // pixels before a press becomes a drag

export class FaceGrid {
  // `caption(face)` returns what stands below a face; `onlook(face)` is called for the one that is looked at.
  constructor({ label, wide = 224, caption = () => null, onchange = () => {}, onlook = () => {}, onopen = null }) {
    this.wide = wide;
    this.caption = caption;
    this.onchange = onchange;
    this.onlook = onlook;
    this.onopen = onopen ?? ((face) => { location.hash = `#/photo/${face.photo}`; });
    this.faces = [];
    this.chosen = new Set();
    this.anchor = 0;
    this.element = h("ul", {
      class: "faces", role: "listbox", "aria-label": label, "aria-multiselectable": "true",
      onkeydown: (event) => this.key(event), onpointerdown: (event) => this.press(event),
      ondblclick: (event) => { const i = this.place(event.target); if (i >= 0) this.onopen(this.faces[i]); },
    });
  }

  show(faces) {
    const focused = this.place(document.activeElement);
    const kept = focused >= 0 ? this.faces[focused].face : null;
    const known = new Map(this.items().map((item, i) => [this.faces[i].face, item]));
    this.faces = faces;
    const here = new Set(faces.map((face) => face.face));
    this.chosen = new Set([...this.chosen].filter((face) => here.has(face)));
    this.element.replaceChildren(...faces.map((face) => {
      const old = known.get(face.face);
      const text = JSON.stringify([face.name, face.source]);
      return old && old.dataset.text === text ? old : this.item(face, text);
    }));
    this.focusable(Math.max(0, faces.findIndex((face) => face.face === kept)), kept !== null && here.has(kept));
    this.paint();
  }

  item(face, text) {
    const item = h("li", { role: "option", tabindex: "-1", "aria-selected": "false", data: { text } },
      faceImage(face, this.wide, { loading: "lazy" }), this.caption(face));
    if (face.source === "propagated") item.classList.add("guess");
    item.addEventListener("focus", () => this.onlook(face));
    item.addEventListener("pointerenter", () => this.onlook(face));
    return item;
  }

  items() { return [...this.element.children]; }

  place(target) {
    const item = target instanceof Element ? target.closest("li[role=option]") : null;
    return item && item.parentElement === this.element ? this.items().indexOf(item) : -1;
  }

  selection() { return this.faces.filter((face) => this.chosen.has(face.face)); }

  clear() { this.chosen.clear(); this.paint(); }

  focusable(i, focus, options = {}) {
    this.items().forEach((item, j) => { item.tabIndex = j === i ? 0 : -1; });
    if (focus) this.items()[i]?.focus(options);
  }

  paint() {
    this.items().forEach((item, i) => item.setAttribute("aria-selected", String(this.chosen.has(this.faces[i].face))));
    this.onchange(this.selection());
  }

  toggle(i) {
    const face = this.faces[i].face;
    if (!this.chosen.delete(face)) this.chosen.add(face);
    this.anchor = i;
    this.paint();
  }

  range(to) {
    for (let i = Math.min(this.anchor, to); i <= Math.max(this.anchor, to); i += 1) this.chosen.add(this.faces[i].face);
    this.paint();
  }

  columns() {
    const items = this.items();
    const next = items.findIndex((item) => item.offsetTop !== items[0].offsetTop);
    return next < 0 ? items.length : next;
  }

  key(event) {
    const i = this.place(event.target);
    if (i < 0 || event.altKey) return;
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: this.columns(), ArrowUp: -this.columns(), Home: -i, End: this.faces.length - 1 - i };
    if (event.key in steps) {
      const to = i + steps[event.key];
      if (to < 0 || to >= this.faces.length) return;
      event.preventDefault();
      this.focusable(to, true);
      if (event.shiftKey) this.range(to);
      else this.anchor = to;
    } else if (event.key === " ") {
      event.preventDefault();
      if (event.shiftKey) this.range(i);
      else this.toggle(i);
    } else if (event.key === "Enter") {
      event.preventDefault();
      this.onopen(this.faces[i]);
    } else if (event.key.toLowerCase() === "a" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      this.faces.forEach((face) => this.chosen.add(face.face));
      this.paint();
    } else if (event.key === "Escape" && this.chosen.size) {
      event.stopPropagation();
      this.clear();
    }
  }

  // A press is a click, or the start of a frame that is drawn round faces with the mouse.
  press(event) {
    if (event.button !== 0) return;
    const start = { x: event.clientX, y: event.clientY };
    const before = new Set(event.ctrlKey || event.metaKey || event.shiftKey ? this.chosen : []);
    const band = h("div", { class: "band" });
    let drawn = false;
    const move = (to) => {
      if (event.pointerType !== "mouse") return;
      if (!drawn && Math.hypot(to.clientX - start.x, to.clientY - start.y) < DRAG) return;
      if (!drawn) document.body.append(band);
      drawn = true;
      const box = [Math.min(start.x, to.clientX), Math.min(start.y, to.clientY), Math.max(start.x, to.clientX), Math.max(start.y, to.clientY)];
      Object.assign(band.style, { left: `${box[0]}px`, top: `${box[1]}px`, width: `${box[2] - box[0]}px`, height: `${box[3] - box[1]}px` });
      this.chosen = new Set(before);
      this.items().forEach((item, i) => {
        const at = item.getBoundingClientRect();
        if (at.left < box[2] && at.right > box[0] && at.top < box[3] && at.bottom > box[1]) this.chosen.add(this.faces[i].face);
      });
      this.paint();
    };
    const end = (at) => {
      document.removeEventListener("pointermove", move);
      document.removeEventListener("pointerup", end);
      document.removeEventListener("pointercancel", cancel);
      band.remove();
      const i = this.place(at.target);
      if (drawn || i < 0) return;
      this.focusable(i, true, { focusVisible: false });
      if (at.shiftKey) this.range(i);
      else this.toggle(i);
    };
    const cancel = () => {
      document.removeEventListener("pointermove", move);
      document.removeEventListener("pointerup", end);
      document.removeEventListener("pointercancel", cancel);
      band.remove();
    };
    document.addEventListener("pointermove", move);
    document.addEventListener("pointerup", end);
    document.addEventListener("pointercancel", cancel);
    if (event.pointerType === "mouse") event.preventDefault();
  }
}

export const moment = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;

export const captionOf = (face, ...more) => h("span", { class: "caption" },
  face.name ? named(face.name) : null,
  face.source === "propagated" ? h("span", { class: "tag" }, "guess") : null,
  face.date ? h("span", { class: "meta" }, day(face.date)) : null, more);

// What can be done with the chosen faces: a bar that is there while some are.
export function chosenBar(grid, actions) {
  const words = h("p", { class: "chosen-count", role: "status" });
  const bar = h("section", { class: "chosen", "aria-label": "Chosen faces", hidden: true }, words,
    h("div", { class: "actions" }, actions, h("button", { type: "button", onclick: () => grid.clear() }, "Choose none")));
  const update = (selection) => {
    bar.hidden = selection.length === 0;
    words.textContent = selection.length ? `${count(selection.length, "face")} chosen` : "";
  };
  return { element: bar, update };
}
