// Updates pages live without moving what is under the pointer, asks for confirmation, and copies.
"use strict";

const LEAST_MS = 1000; // between two fetches of the page
const SILENT_MS = 40000; // a stream says something every 15 s, whether there is news or not

// -- live -----------------------------------------------------------------------------------------

const live = document.body.dataset.live;
const state = document.querySelector("[data-link]");
let source = null;
let heard = 0; // when the stream said something
let fetching = false;
let again = false;
let last = 0;

function tell(words, lost) {
  if (!state) return;
  state.classList.add("on");
  state.classList.toggle("lost", lost);
  const text = state.querySelector(".link-words");
  // Only when it changes: a screen reader says it aloud.
  if (text.textContent !== words) text.textContent = words;
}

function listen() {
  if (!live || source) return;
  heard = Date.now();
  source = new EventSource(live);
  source.addEventListener("open", () => { hear(); tell("live", false); refresh(); });
  source.addEventListener("change", () => { hear(); refresh(); });
  source.addEventListener("quiet", hear);
  source.addEventListener("over", () => location.reload());
  source.addEventListener("error", () => tell("offline", true));
}

function hear() {
  heard = Date.now();
}

function hush() {
  if (source) source.close();
  source = null;
}

// A browser gives up a stream that was answered with anything else, such as a proxy's 502 while
// the console restarts, and believes in one on which nothing comes any more.
function listenAgain() {
  if (!source) return;
  if (source.readyState !== EventSource.CLOSED && Date.now() - heard < SILENT_MS) return;
  tell("offline", true);
  hush();
  listen();
  refresh(); // who was signed out meanwhile is led to the sign-in
}

async function refresh() {
  if (fetching) { again = true; return; }
  fetching = true;
  const wait = last + LEAST_MS - Date.now();
  if (wait > 0) await new Promise((done) => setTimeout(done, wait));
  again = false;
  last = Date.now();
  try {
    const answer = await fetch(location.href, {
      headers: { "X-Live": "1" }, signal: AbortSignal.timeout(SILENT_MS),
    });
    if (answer.redirected || answer.status === 403) { location.reload(); return; }
    if (!answer.ok) throw new Error(`answered with ${answer.status}`);
    put(new DOMParser().parseFromString(await answer.text(), "text/html"));
    if (source && source.readyState === EventSource.OPEN) tell("live", false);
  } catch {
    tell("offline", true);
  } finally {
    fetching = false;
  }
  if (again) refresh();
}

function put(fresh) {
  const parts = document.querySelectorAll("[data-part]");
  const same = fresh.body.dataset.live === live && parts.length ===
    fresh.querySelectorAll("[data-part]").length;
  if (!same) { // another kind of page by now, such as the first board's
    if (!document.activeElement.matches("input, select")) location.reload();
    return;
  }
  for (const part of parts) {
    const found = fresh.querySelector(`[data-part="${part.dataset.part}"]`);
    if (!found) continue;
    const held = "hold" in part.dataset && part.matches(":hover, :focus-within");
    if (held) patchRows(part, found); else patch(part, found);
  }
  words();
  document.dispatchEvent(new Event("refreshed"));
}

// While somebody is about to click, rows stay where they are; their contents go on.
function patchRows(part, fresh) {
  for (const row of part.querySelectorAll("tbody tr[id]")) {
    const found = fresh.querySelector(`#${CSS.escape(row.id)}`);
    if (found) patch(row, found);
  }
}

// Makes the first node like the second, and leaves alone what is the same.
function patch(node, fresh) {
  if (node.nodeType !== fresh.nodeType || node.nodeName !== fresh.nodeName) {
    node.replaceWith(document.importNode(fresh, true));
    return;
  }
  if (node.nodeType !== Node.ELEMENT_NODE) {
    if (node.nodeValue !== fresh.nodeValue) node.nodeValue = fresh.nodeValue;
    return;
  }
  if (node.nodeName === "TIME" && node.dateTime === fresh.dateTime) return;
  const mine = node.nodeName === "DETAILS" ? ["open"] : []; // what the reader has opened stays
  for (const { name } of [...node.attributes]) {
    if (!fresh.hasAttribute(name) && !mine.includes(name)) node.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (node.getAttribute(name) !== value && !mine.includes(name)) node.setAttribute(name, value);
  }
  if (node.nodeName === "INPUT" || node.nodeName === "SELECT") return;
  const known = new Map();
  for (const child of node.children) if (child.id) known.set(child.id, child);
  let here = node.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    const named = wanted.id && known.get(wanted.id);
    if (named && named !== here) node.insertBefore(named, here);
    if (named) here = named;
    if (!here || (here.id && here.id !== wanted.id && known.has(here.id) && !named)) {
      node.insertBefore(document.importNode(wanted, true), here);
      continue;
    }
    const next = here.nextSibling;
    patch(here, wanted);
    here = next;
  }
  while (here) {
    const next = here.nextSibling;
    here.remove();
    here = next;
  }
}

// -- times ----------------------------------------------------------------------------------------

const UNITS = [["d", 86400], ["h", 3600], ["min", 60]];
const pad = (number) => String(number).padStart(2, "0");

function ago(seconds) {
  for (const [unit, length] of UNITS) {
    if (Math.abs(seconds) >= length) {
      const text = `${Math.floor(Math.abs(seconds) / length)} ${unit}`;
      return seconds > 0 ? `${text} ago` : `in ${text}`;
    }
  }
  if (seconds < -1) return `in ${Math.round(-seconds)} s`;
  return seconds < 5 ? "just now" : `${Math.round(seconds)} s ago`;
}

function exact(at) {
  const offset = -at.getTimezoneOffset();
  const minutes = Math.abs(offset) % 60 ? `:${pad(Math.abs(offset) % 60)}` : "";
  const hours = `${offset < 0 ? "−" : "+"}${Math.floor(Math.abs(offset) / 60)}${minutes}`;
  return `${day(at)} ${hour(at)} ${offset === 0 ? "UTC" : `UTC${hours}`}`;
}

const day = (at) => `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())}`;
const zone = (at) => exact(at).slice(20);
const hour = (at) => `${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`;

function words() {
  for (const time of document.querySelectorAll("time")) {
    const at = new Date(time.dateTime);
    let text = ago((Date.now() - at) / 1000);
    if (time.classList.contains("exact")) {
      text = exact(at);
    } else if (time.classList.contains("clock")) {
      time.title = exact(at);
      time.firstElementChild.textContent = day(at);
      time.lastChild.nodeValue = ` ${exact(at).slice(11)}`;
      continue;
    } else {
      time.title = exact(at);
      const tick = time.dataset.tick;
      if (tick) text = tick.startsWith("day") ? day(at).slice(5) : hour(at).slice(0, 5);
      if (tick?.endsWith("zone")) text += ` ${zone(at)}`;
    }
    if (time.textContent !== text) time.textContent = text;
  }
}

// -- asking twice, copying ------------------------------------------------------------------------

document.addEventListener("submit", (event) => {
  const sure = event.submitter?.dataset.sure || event.target.dataset.sure;
  if (sure && !confirm(filled(sure, event.target))) event.preventDefault();
});

// A question with the values of the form's fields in place of their names in braces.
function filled(text, form) {
  return text.replace(/{(\w+)}/g, (braces, name) => {
    if (name === "picked") return form.dataset.selection ?? braces; // by selection.js
    const field = form.elements[name];
    if (!field?.form) return braces; // part of a device's name
    return (field.selectedOptions?.[0]?.textContent ?? field.value).trim();
  });
}

// For the page as it is at any time: what a refresh brings has such buttons as well.
document.documentElement.classList.toggle("copies", Boolean(navigator.clipboard));
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  await navigator.clipboard.writeText(button.parentElement.querySelector("code").textContent);
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
});

words();
setInterval(() => { words(); listenAgain(); }, 5000);
// A hidden tab needs no connection, of which a browser has few for each host.
document.addEventListener("visibilitychange", () => { if (document.hidden) hush(); else listen(); });
addEventListener("pagehide", hush);
if (!document.hidden) listen();
