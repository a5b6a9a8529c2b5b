// One photo, with a frame and a name for each face in it.

import { done, get, seen } from "./api.js";
import { button, count, day, h, name as named, show, typing } from "./dom.js";
import { FaceGrid, captionOf, chosenBar, moment, photoFigure } from "./faces.js";
import { nameField } from "./names.js";

export async function photoPage(main, [hash]) {
  let photo = null;
  let known = "";
  let hovered = null;
  let shownTime = null; // of a video one frame at a time is shown
  const head = h("div", { class: "head" });
  const figure = h("div", { class: "large" });
  const grid = new FaceGrid({
    label: "Faces in this photo",
    caption: (face) => captionOf({ ...face, date: null },
      face.ignored ? h("span", { class: "tag" }, face.ignored === "not-a-face" ? "no face" : "left out") : null,
      face.name || face.ignored ? null : h("span", { class: "meta" }, "no name"),
      face.time === null ? null : h("span", { class: "meta" }, `at ${moment(face.time)}`)),
    onchange: (selection) => { bar.update(selection); frames(); },
    onlook: (face) => { hovered = face.face; if (face.time !== shownTime) drawFigure(face.time); frames(); },
    onopen: (face) => { location.hash = face.person ? `#/person/${face.person}` : face.cluster ? `#/cluster/${face.cluster}` : location.hash; },
  });
  const about = () => ({ faces: grid.selection().map((face) => face.face), seen: seen(grid.selection()) });
  const act = async (fields) => { if (await done({ ...fields, ...about() })) { grid.clear(); await refresh(); } };
  const who = nameField({ label: "This is", placeholder: "This is …", action: "Name", onname: (name) => act({ do: "label", name }) });
  const bar = chosenBar(grid, [
    who.element,
    h("button", { type: "button", onclick: () => act({ do: "unlabel" }) }, "Take the name off"),
    button("Not a face", "X", () => act({ do: "ignore", kind: "not-a-face" })),
    button("Leave out", "I", () => act({ do: "ignore", kind: "stranger" })),
    h("button", { type: "button", onclick: () => act({ do: "unignore" }) }, "Take back in"),
  ]);

  function frames() {
    for (const frame of figure.querySelectorAll(".frame")) {
      const face = Number(frame.dataset.face);
      frame.classList.toggle("chosen-frame", grid.chosen.has(face));
      frame.classList.toggle("looked", hovered === face);
      frame.setAttribute("aria-pressed", String(grid.chosen.has(face)));
    }
  }

  function draw() {
    const text = JSON.stringify(photo);
    if (text === known) return;
    known = text;
    const file = photo.path.split(/[\\/]/).at(-1);
    show(head, h("h1", { tabindex: "-1", class: "file" }, named(file || "Photo")),
      h("p", { class: "meta" }, [count(photo.faces.length, "face"), day(photo.date), photo.camera, `${photo.width} × ${photo.height}`].filter(Boolean).join(" · ")),
      h("p", { class: "meta path" }, named(photo.path), photo.missing ? " (not there any more)" : null),
      h("label", { class: "check" }, h("input", {
        type: "checkbox", checked: photo.mirror,
        onchange: async (event) => { await done({ do: "mirror", face: photo.faces[0].face, remove: !event.target.checked }); await refresh(); },
      }), " Shows a person more than once (a mirror, a collage)"));
    if (!photo.faces.some((face) => face.time === shownTime)) shownTime = photo.faces[0].time;
    drawFigure(shownTime);
    grid.show(photo.faces);
    document.title = `${file} – photocluster`;
  }

  function drawFigure(time) {
    shownTime = time;
    const shown = photo.faces.filter((face) => face.time === time);
    show(figure, photoFigure(shown[0], shown.map((face) => {
      const frame = h("button", {
        type: "button", class: "frame", data: { face: face.face }, "aria-pressed": "false",
        "aria-label": face.name ?? (face.ignored ? "left out" : "no name"), onclick: () => grid.toggle(grid.faces.findIndex((one) => one.face === face.face)),
      }, h("span", { class: "label" }, face.name ? named(face.name) : "?"));
      frame.classList.toggle("ignored", face.ignored !== null);
      frame.classList.toggle("guess", face.source === "propagated");
      return [face.box, frame];
    })));
  }

  async function refresh() {
    photo = await get(`/api/photo/${hash}`);
    draw();
  }

  await refresh();
  show(main, head, h("div", { class: "photo" }, figure,
    h("section", { class: "in-photo", "aria-label": "Faces" }, h("h2", {}, photo.faces[0].time === null ? "In this photo" : "In this video"), grid.element)), bar.element);
  const keys = { x: () => act({ do: "ignore", kind: "not-a-face" }), i: () => act({ do: "ignore", kind: "stranger" }) };
  return {
    title: "Photo", refresh,
    key: (event) => {
      const action = keys[event.key.toLowerCase()];
      if (action && !typing(event) && grid.chosen.size) { event.preventDefault(); action(); }
    },
  };
}
