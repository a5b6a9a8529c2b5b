// The frame of all pages: which one the address means, progress, keys, and looking again when something was decided.

import { get, nameTheSure, onChange, sentence } from "./api.js";
import { count, h, say, show, typing, warn } from "./dom.js";
import { historyPage } from "./history.js";
import { peoplePage } from "./people.js";
import { clusterPage, clustersPage, personPage } from "./person.js";
import { photoPage } from "./photo.js";
import { canBeTakenBack, queuePage } from "./queue.js";
import { searchPage } from "./search.js";

const pages = {
  "": queuePage, people: peoplePage, person: personPage, clusters: clustersPage, cluster: clusterPage, photo: photoPage, search: searchPage, history: historyPage,
};
const menu = { person: "people", cluster: "clusters", photo: "" };
const main = document.getElementById("main");
let page = null;
let turn = 0;

function progress({ progress: figures, sure }) {
  if (!figures || !figures.faces) return;
  const share = figures.named / figures.faces;
  const place = document.getElementById("progress");
  place.hidden = false;
  place.querySelector("progress").value = share;
  const goal = Math.round(100 * figures.goal);
  const left = share >= figures.goal ? "" : ` · about ${round(figures.decisions).toLocaleString("en")} decisions to ${goal} %`;
  document.getElementById("progress-words").textContent = `${Math.floor(100 * share)} % of faces named${left}`;
  surely(sure);
}

const sureButton = document.getElementById("sure");
let naming = false;

// What needs no question: offered with a figure, done at once, and taken back like a decision.
function surely(sure) {
  if (naming) return;
  sureButton.hidden = !sure || (sure.faces === 0 && sure.taken_back === 0);
  if (sureButton.hidden) return;
  sureButton.textContent = sure.faces ? `Name ${count(sure.faces, "sure face")}` : `Take ${count(sure.taken_back, "wrong guess", "wrong guesses")} back`;
  sureButton.title = "Faces that are surely like those that you named get their names, as guesses with a dashed edge";
}

async function nameSure() {
  if (naming || sureButton.hidden) return;
  naming = true;
  sureButton.disabled = true;
  sureButton.textContent = "Naming …";
  try {
    const answer = await nameTheSure();
    if (answer.event !== null) canBeTakenBack(answer.event);
    say(answer.event === null ? "Nothing changed" : `${sentence(answer.words)}. Undo in History takes it back`);
    sureButton.hidden = true;
  } catch (failure) {
    warn(sentence(failure.message));
  } finally {
    naming = false;
    sureButton.disabled = false;
    await look();
  }
}

// An estimate is not told to the last digit.
function round(number) {
  const step = 10 ** Math.max(0, Math.floor(Math.log10(Math.max(1, number))) - 1);
  return Math.round(number / step) * step;
}

// Where one was on a page that one comes back to.
history.scrollRestoration = "manual";
const places = new Map();
let visit = 0;
window.addEventListener("scroll", () => places.set(visit, window.scrollY), { passive: true });

function arrive() {
  const before = history.state?.visit;
  visit = before ?? Math.random();
  if (before === undefined) history.replaceState({ visit }, "");
  window.scrollTo(0, places.get(visit) ?? 0);
}

async function open() {
  const mine = turn += 1;
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [first, ...rest] = path.split("/");
  const wanted = pages[first] ?? queuePage;
  for (const link of document.querySelectorAll("nav a")) {
    const here = link.dataset.page === (menu[first] ?? first) && first !== "photo";
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  page = null;
  const place = h("div", { class: "page", data: { address: location.hash } });
  try {
    const made = await wanted(place, rest.map(decodeURIComponent), progress, new URLSearchParams(query ?? ""));
    if (mine !== turn) return;
    page = made;
    show(main, place);
    document.title = `${made.title} – photocluster`;
    arrive();
    if (mine > 1 && !main.contains(document.activeElement)) main.focus({ preventScroll: true });
  } catch (failure) {
    if (mine !== turn) return;
    show(main, h("h1", {}, "This cannot be shown"), h("p", {}, sentence(failure.message)));
  }
}

let looking = false;
let again = false;

async function look() {
  if (looking) { again = true; return; }
  looking = true;
  try {
    do {
      again = false;
      if (page) await page.refresh();
      if (page && location.hash.replace(/^#\/?/, "")) progress(await get("/api/queue"));
    } while (again);
  } catch (failure) {
    warn(failure.message);
  } finally {
    looking = false;
  }
}

const HELP = [
  ["Y", "Yes; for a new face: type who it is"], ["N", "No"], ["S", "Later"], ["X", "Not a face"], ["I", "Leave out: nobody to name"],
  ["U", "Undo"], ["Enter", "Type a name"], ["Arrows, Space", "Go to a face, choose it"], ["Shift + arrows", "Choose several"],
  ["Esc", "Choose none, leave a field"], ["?", "This list"],
];

function help() {
  const close = h("button", { type: "submit", class: "main" }, "Close");
  const dialog = h("dialog", { "aria-labelledby": "help-title", onclose: () => dialog.remove() },
    h("form", { method: "dialog" }, h("h2", { id: "help-title" }, "Keys"),
      h("dl", { class: "help" }, HELP.map(([key, what]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, what)])),
      h("p", { class: "meta" }, "With the mouse: click faces to choose them, Shift for all between, drag a frame round several; a double click opens the photo."), close));
  document.body.append(dialog);
  dialog.showModal();
  close.focus();
}

document.getElementById("skip").addEventListener("click", () => main.focus());
document.getElementById("keys").addEventListener("click", help);
sureButton.addEventListener("click", nameSure);
document.addEventListener("keydown", (event) => {
  if (event.key === "?" && !typing(event)) { event.preventDefault(); help(); } else page?.key?.(event);
});
window.addEventListener("hashchange", () => { say(""); warn(""); open(); });
onChange(look);
open();
if (location.hash.replace(/^#\/?/, "")) get("/api/queue").then(progress, () => {});
