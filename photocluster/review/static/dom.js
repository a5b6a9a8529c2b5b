// Elements are made here and nowhere else; text is always text, never HTML.

export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "data") Object.assign(element.dataset, value);
    else if (key in element && typeof value !== "string") element[key] = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function show(parent, ...children) {
  parent.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
}

// A name may be written from right to left, and must not turn its surroundings round.
export const name = (text) => h("bdi", {}, text);

export const count = (number, one, many = `${one}s`) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;

export function day(text) {
  if (!text) return "";
  const when = new Date(text);
  return Number.isNaN(when.valueOf()) ? text : when.toLocaleDateString(undefined, { dateStyle: "medium" });
}

export function button(label, key, action, props = {}) {
  return h(
    "button",
    { type: "button", onclick: action, "aria-keyshortcuts": key || null, ...props },
    label,
    key ? h("kbd", { "aria-hidden": "true" }, key) : null,
  );
}

let told;

// Say what was done, to eyes and to screen readers alike.
export function say(words) {
  const place = document.getElementById("said");
  clearTimeout(told);
  warn("");
  place.textContent = words;
  told = setTimeout(() => { place.textContent = ""; }, 3000 + 60 * words.length);
}

// Say what went wrong; it stays until something else is said, or it is closed.
export function warn(words) {
  document.getElementById("said").textContent = "";
  const place = document.getElementById("trouble");
  if (!words) show(place);
  else if (place.firstChild?.textContent !== words) show(place, h("span", {}, words), h("button", { type: "button", "aria-label": "Close", onclick: () => show(place) }, "×"));
}

// Ask before something large; resolves to whether the answer was yes.
export function confirm(question, detail, yes) {
  return new Promise((resolve) => {
    const no = h("button", { type: "submit", value: "no" }, "No, go back");
    const dialog = h(
      "dialog",
      { "aria-labelledby": "dialog-title", onclose: () => { resolve(dialog.returnValue === "yes"); dialog.remove(); } },
      h("form", { method: "dialog" },
        h("h2", { id: "dialog-title" }, question),
        h("p", {}, detail),
        h("div", { class: "buttons" }, h("button", { type: "submit", value: "yes", class: "main" }, yes), no)),
    );
    document.body.append(dialog);
    warn("");
    dialog.showModal();
    no.focus();
  });
}

export const typing = (event) =>
  event.ctrlKey || event.metaKey || event.altKey || event.isComposing || document.querySelector("dialog[open]") !== null ||
  (event.target instanceof Element && event.target.closest("input, textarea, select") !== null);
