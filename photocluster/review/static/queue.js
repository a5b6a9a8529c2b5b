// Questions, one after the other, one key each. The next ones are there before the answer of the server.

import { Failure, decide, done, get, seen, sentence } from "./api.js";
import { button, count, h, name as named, say, show, typing, warn } from "./dom.js";
import { FaceGrid, around, captionOf, faceImage, moment, photoFigure, picture } from "./faces.js";
import { nameField } from "./names.js";

const AHEAD = 3; // questions whose pictures are fetched before they are shown
const MOST_LATER = 200; // questions put off that the server is told of

const keyOf = (question) => [question.kind, question.person, question.faces[0]?.face, question.others[0]?.face].join();

// These outlive a visit to another page of the application.
const later = new Map(); // what tells a question from others -> its id
const answered = new Set();
const made = [];
const ahead = new Map();

// Something else that U takes back, in its turn.
export const canBeTakenBack = (event) => { made.push({ event, question: null }); };

function headline(question) {
  if (question.kind === "name") return question.count === 1 ? ["Who is this?"] : ["Who is this person?"];
  if (question.kind === "pair") return ["Are these the same person?"];
  return ["Is this ", named(question.name), "?"];
}

export async function queuePage(main, _args, onprogress) {
  let list = [];
  let current = null;
  let working = true;
  let faces = 0;
  let grid = null;
  let field = null;
  const left = new Set(); // faces that the user took out of the question

  function fetchAhead() {
    const wanted = new Map();
    for (const question of list.slice(0, AHEAD)) {
      for (const face of [...question.faces, ...question.others]) wanted.set(picture(face, 480), null);
      if (question.faces[0]) wanted.set(around(question.faces[0]), null);
    }
    for (const [address] of wanted) {
      if (!ahead.has(address)) {
        const image = new Image();
        image.src = address;
        ahead.set(address, image);
      }
    }
    for (const address of [...ahead.keys()].slice(0, Math.max(0, ahead.size - 200))) ahead.delete(address);
  }

  function next() {
    list = list.filter((question) => !answered.has(keyOf(question)));
    const place = list.findIndex((question) => !later.has(keyOf(question)));
    [current] = list.splice(Math.max(0, place), 1);
    current ??= null;
    left.clear();
    draw();
    fetchAhead();
  }

  function again(question, words = "") {
    answered.delete(keyOf(question));
    if (current) list.unshift(current);
    current = question;
    left.clear();
    draw();
    if (words) warn(words);
  }

  // Answer the whole question, and show the next one at once.
  async function answer(said, name = null) {
    if (!current) return;
    const question = current;
    const without = [...left];
    answered.add(keyOf(question));
    next();
    try {
      const result = await decide({ do: "answer", question: question.id, answer: said, name, without });
      if (result.event === null) say("Nothing changed");
      else {
        made.push({ event: result.event, question });
        say(`${sentence(result.words)}. U takes it back`);
      }
    } catch (failure) {
      if (failure instanceof Failure && failure.status === 409) warn(sentence(failure.message));
      else again(question, sentence(failure.message));
    }
  }

  // With faces chosen, the answer is about these, and the question stays for the others.
  async function answerChosen(said, name = null) {
    const chosen = grid.selection();
    const faces = chosen.map((face) => face.face);
    const about = { faces, seen: seen(chosen) };
    const question = current;
    if (said === "no" && question.kind !== "person") {
      made.push({ event: null, question, faces });
      say(`${count(faces.length, "face")} left out of this question`);
      without(faces);
      return;
    }
    const fields = {
      yes: name ? { do: "label", name, ...about } : { do: "label", name: current.name, ...about },
      no: { do: "reject", person: current.person, ...about },
      "not-a-face": { do: "ignore", kind: "not-a-face", ...about },
      ignore: { do: "ignore", kind: "stranger", ...about },
    }[said];
    const answer = await done(fields);
    if (!answer) return;
    if (answer.event !== null) made.push({ event: answer.event, question, faces });
    if (current === question) without(faces);
  }

  function without(faces) {
    faces.forEach((face) => left.add(face));
    grid.clear();
    redraw();
  }

  function give(said, name = null) {
    if (!current) return;
    if (said === "yes" && !name && (current.kind === "name" || (current.kind === "pair" && grid.chosen.size))) field.input.focus();
    else if (grid.chosen.size) answerChosen(said, name);
    else answer(said, name);
  }

  async function takeBack() {
    const last = made.pop();
    if (!last) {
      say("Nothing to take back here; see History");
      return;
    }
    if (last.event !== null && !(await done({ do: "undo", event: last.event }))) return;
    if (last.question && last.faces && current && keyOf(current) === keyOf(last.question)) {
      last.faces.forEach((face) => left.delete(face));
      redraw();
    } else if (last.question) again(last.question);
  }

  function putOff() {
    if (!current) return;
    later.delete(keyOf(current));
    later.set(keyOf(current), current.id);
    list.push(current);
    say("Later");
    next();
    if (list.filter((question) => !later.has(keyOf(question))).length < AHEAD) refresh().catch((failure) => warn(sentence(failure.message)));
  }

  function redraw() {
    grid.show(current.faces.filter((face) => !left.has(face.face)));
    if (grid.faces.length === 0) next();
  }

  const beside = h("figure", { class: "around" });
  let looked = null;
  function look(face) {
    if (looked === face.photo + face.face) return;
    looked = face.photo + face.face;
    show(beside, h("a", { href: `#/photo/${face.photo}`, "aria-label": `Open the photo ${face.file}` }, photoFigure(face, [[face.box, h("span", { class: "frame" })]])),
      h("figcaption", { class: "meta" }, named(face.file), face.time === null ? null : ` at ${moment(face.time)}`));
  }

  function draw() {
    if (!current) {
      if (working) show(main, h("h1", {}, "Looking for questions …"));
      else if (!faces) show(main, h("h1", {}, "No faces yet"), h("p", {}, "Look for some with the command ", h("code", {}, "photocluster scan FOLDER"), ". This page shows them as soon as they are there."));
      else show(main, h("h1", {}, "Nothing to ask"), h("p", {},
        "Every cluster has a name, was ruled out, or is too far from everybody. ",
        h("a", { href: "#/clusters" }, "See the unnamed clusters"), " or ", h("a", { href: "#/people" }, "the people"),
        ". After new photos: ", h("code", {}, "photocluster cluster"), "."));
      return;
    }
    const question = current;
    grid = new FaceGrid({
      label: "The faces in question", wide: 480, onlook: look,
      caption: (face) => (question.count > 1 ? captionOf({ ...face, name: null }) : null),
      onchange: (selection) => { chosen.textContent = selection.length ? `Your answer is about the ${count(selection.length, "chosen face")} only` : ""; },
    });
    const chosen = h("p", { class: "meta chosen-words", role: "status" });
    field = nameField({
      label: question.kind === "name" ? "Name" : "Somebody else?", action: "Give the name", key: "Enter", main: question.kind === "name",
      onname: (name) => { field.input.blur(); give("yes", name); },
    });
    const own = h("section", { class: "side", "aria-label": "The faces in question" },
      grid.element, chosen);
    const others = question.others.length ? h("section", { class: "side others", "aria-label": question.kind === "pair" ? "The other cluster" : `Known faces of ${question.name}` },
      h("h2", {}, question.kind === "pair" ? `The other cluster, ${count(question.other_count, "face")}` : [named(question.name), ", as you know"]),
      h("ul", { class: "faces" }, question.others.map((face) => h("li", {}, faceImage(face, 480))))) : null;
    const yes = question.kind !== "name" ? button("Yes", "Y", () => give("yes"), { class: "main" }) : null;
    const no = question.kind !== "name" ? button("No", "N", () => give("no")) : null;
    show(main,
      h("div", { class: "question", data: { kind: question.kind, id: question.id } },
        h("div", { class: "asked" },
          h("h1", { id: "question", tabindex: "-1" }, headline(question)),
          h("p", { class: "meta" }, count(question.count, "face"),
            question.count > question.faces.length ? [`, ${question.faces.length} of them here`, question.cluster ? [" · ", h("a", { href: `#/cluster/${question.cluster}` }, "see all")] : null].flat() : null,
            question.kind === "person" ? ` · likely to ${Math.round(100 * question.probability)} %` : null)),
        h("div", { class: `sides of-${Math.min(question.faces.length, 5)}` }, own, others),
        beside,
        h("div", { class: "answers", role: "group", "aria-label": "Answer" },
          field.element,
          h("div", { class: "buttons" }, yes, no,
            button("Later", "S", putOff), button("Not a face", "X", () => give("not-a-face")),
            button(question.kind === "name" ? "Nobody I know" : "Leave out", "I", () => give("ignore")),
            button("Undo", "U", takeBack)))));
    grid.show(question.faces);
    looked = null;
    if (question.faces[0]) look(question.faces[0]);
  }

  async function refresh() {
    const put = [...later.values()].slice(-MOST_LATER).join();
    const state = await get(`/api/queue?current=${current?.id ?? ""}&later=${put}`);
    onprogress(state);
    working = state.working && !state.trouble;
    faces = state.progress?.faces ?? 0;
    if (state.trouble) warn(sentence(state.trouble));
    const shown = current ? keyOf(current) : null;
    list = state.questions.filter((question) => question.faces.length && keyOf(question) !== shown && !answered.has(keyOf(question)));
    const order = [...later.keys()]; // of what was put off, the longest ago comes first
    list.sort((a, b) => order.indexOf(keyOf(a)) - order.indexOf(keyOf(b)));
    if (!current) next();
    else if (!state.current_open && !answered.has(shown)) {
      answered.add(shown);
      say("That was answered in the meantime. Here is the next question");
      next();
    } else fetchAhead();
  }

  const keys = { y: () => give("yes"), n: () => give(current?.kind === "name" ? "ignore" : "no"), s: putOff, x: () => give("not-a-face"), i: () => give("ignore"), u: takeBack, enter: () => field?.input.focus() };
  function key(event) {
    const action = keys[event.key.toLowerCase()];
    const taken = event.key === "Enter" && event.target instanceof Element && event.target.closest("button, a, li[role=option]");
    if (!action || typing(event) || taken || event.repeat) return;
    event.preventDefault();
    action();
  }

  await refresh();
  return { title: "Questions", refresh, key };
}
