// Keeps pages up to date, without moving anything under somebody's pointer; uploads; asks twice.
"use strict";

const LEAST_MS = 1000; // between two fetches of the page

// -- live -----------------------------------------------------------------------------------------

const live = document.body.dataset.live;
const state = document.querySelector("[data-link]");
let source = null;
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
  source = new EventSource(live);
  source.addEventListener("open", () => { tell("live", false); refresh(); });
  source.addEventListener("change", refresh);
  source.addEventListener("over", () => location.reload());
  source.addEventListener("error", () => tell("link lost", true));
}

function hush() {
  if (source) source.close();
  source = null;
}

async function refresh() {
  if (fetching) { again = true; return; }
  fetching = true;
  const wait = last + LEAST_MS - Date.now();
  if (wait > 0) await new Promise((done) => setTimeout(done, wait));
  again = false;
  last = Date.now();
  try {
    const answer = await fetch(location.href, { headers: { "X-Live": "1" } });
    if (answer.redirected || answer.status === 403) { location.reload(); return; }
    if (answer.ok) put(new DOMParser().parseFromString(await answer.text(), "text/html"));
    tell("live", false);
  } catch {
    tell("link lost", true);
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
  const zone = offset === 0 ? "UTC" : `UTC${offset < 0 ? "−" : "+"}${Math.abs(offset) / 60}`;
  return `${day(at)} ${hour(at)} ${zone}`;
}

const day = (at) => `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())}`;
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
      time.lastChild.nodeValue = ` ${hour(at)}`;
      continue;
    } else {
      time.title = exact(at);
    }
    if (time.textContent !== text) time.textContent = text;
  }
}

// -- asking twice, copying ------------------------------------------------------------------------

document.addEventListener("submit", (event) => {
  const sure = event.target.dataset.sure;
  if (sure && !confirm(sure)) event.preventDefault();
});

// For the page as it is at any time: what a refresh brings has such buttons as well.
document.documentElement.classList.toggle("copies", Boolean(navigator.clipboard));
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  await navigator.clipboard.writeText(button.parentElement.querySelector("code").textContent);
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
});

// -- uploading ------------------------------------------------------------------------------------

function bytes(count) {
  let number = count;
  for (const unit of ["bytes", "kB", "MB"]) {
    if (number < 1000) return unit === "bytes" ? `${number} bytes` : `${number.toPrecision(3)} ${unit}`;
    number /= 1000;
  }
  return `${number.toPrecision(3)} GB`;
}

for (const form of document.querySelectorAll("[data-upload]")) uploads(form);

function uploads(form) {
  const input = form.querySelector("[type=file]");
  const problem = form.querySelector(".problem");
  const more = form.querySelector(".drop-more");
  const bar = form.querySelector(".drop-bar");
  const button = more.querySelector("button");
  let file = null;
  form.hidden = false;
  form.parentElement.querySelector("[data-plain]").hidden = true;

  function say(text) {
    problem.textContent = text;
    problem.hidden = !text;
  }

  function choose(chosen) {
    if (!chosen) return;
    say("");
    if (chosen.size > Number(form.dataset.most)) {
      say(`${chosen.name} has ${bytes(chosen.size)}; ${bytes(Number(form.dataset.most))} is the most.`);
      return;
    }
    file = chosen;
    form.querySelector("[data-file]").textContent = file.name;
    form.querySelector("[data-size]").textContent = bytes(file.size);
    more.hidden = false;
    button.focus();
  }

  input.addEventListener("change", () => choose(input.files[0]));
  for (const kind of ["dragenter", "dragover"]) {
    form.addEventListener(kind, (event) => { event.preventDefault(); form.classList.add("over"); });
  }
  form.addEventListener("dragleave", (event) => {
    if (!form.contains(event.relatedTarget)) form.classList.remove("over");
  });
  form.addEventListener("drop", (event) => {
    event.preventDefault();
    form.classList.remove("over");
    choose(event.dataTransfer.files[0]);
  });
  form.addEventListener("submit", (event) => { event.preventDefault(); if (file) send(); });

  function send() {
    const query = new URLSearchParams();
    for (const name of ["version", "application"]) {
      const value = form.elements[name].value.trim();
      if (value) query.set(name, value);
    }
    const request = new XMLHttpRequest();
    request.open("POST", `/api/v1/firmware?${query}`);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.setRequestHeader("X-CSRF-Token", document.body.dataset.csrf);
    request.upload.addEventListener("progress", (event) => {
      if (!event.lengthComputable) return;
      const percent = Math.floor((100 * event.loaded) / event.total);
      bar.querySelector("progress").value = percent;
      bar.querySelector("[data-percent]").textContent =
        percent < 100 ? `${percent} %` : "being checked";
    });
    request.addEventListener("load", () => {
      let answer = {};
      try { answer = JSON.parse(request.responseText); } catch { /* a proxy's own page */ }
      if (request.status === 201) {
        location.assign(`/firmware/${answer.firmware.id}`);
        return;
      }
      failed(answer.detail || `The upload was answered with ${request.status}.`);
    });
    request.addEventListener("error", () => failed("The link was lost. Nothing was stored; try again."));
    say("");
    bar.hidden = false;
    button.disabled = true;
    request.send(file);
  }

  function failed(text) {
    bar.hidden = true;
    button.disabled = false;
    say(text.charAt(0).toUpperCase() + text.slice(1));
  }
}

words();
setInterval(words, 5000);
// A hidden tab needs no connection, of which a browser has few for each host.
document.addEventListener("visibilitychange", () => { if (document.hidden) hush(); else listen(); });
addEventListener("pagehide", hush);
if (!document.hidden) listen();
