// Selects rows of the fleet page, or all devices that match its search, and acts on the latter.
"use strict";

{
  const ANSWER_MS = 60000; // the longest wait for an answer
  const REASONS = 5; // that a message gives
  const form = document.querySelector("#selected");
  const more = form?.querySelector("[data-matching]");
  const buttons = form ? [...form.querySelectorAll("button[name=do]")] : [];
  let listed = null; // the ids of all devices that matched when the user chose them
  let newest = 0; // when the last of them was first seen
  let busy = false;
  let stopped = false;

  // Of the page as it is at any time.
  const boxes = () => [...document.querySelectorAll("td.pick input")];
  const number = (count) => count.toLocaleString("en-US");
  const devices = (count, kind = "") => `${number(count)} ${kind}device${count === 1 ? "" : "s"}`;

  function show() {
    const all = boxes();
    const checked = all.filter((box) => box.checked).length;
    const whole = document.querySelector("[data-all]");
    if (whole) {
      whole.hidden = false;
      whole.checked = checked > 0 && checked === all.length;
      whole.indeterminate = checked > 0 && checked < all.length;
    }
    if (!form) return;
    const count = listed ? listed.length : checked;
    form.dataset.selection = devices(count, "selected ");
    form.classList.toggle("picked", count > 0);
    const words = count ? `With ${form.dataset.selection}:` : "With the selected devices:";
    const picked = form.querySelector("[data-picked]");
    // Only when it changes: a screen reader says it aloud.
    if (picked.textContent !== words) picked.textContent = words;
    const matching = Number(document.querySelector("table.devices")?.dataset.count ?? 0);
    more.hidden = !(busy || listed || (whole?.checked && matching > all.length));
    if (busy) more.textContent = "Stop";
    else if (listed) more.textContent = "Clear selection";
    else more.textContent = `Select all ${number(matching)} matching devices`;
    for (const button of buttons) {
      button.disabled = busy;
      const { sureMatching } = button.dataset;
      if (sureMatching && listed) button.dataset.sure = sureMatching;
      else if (sureMatching) delete button.dataset.sure;
    }
  }

  function say(words) {
    form.querySelector("[data-result]").textContent = words;
  }

  function clear() {
    listed = null;
    for (const box of boxes()) box.checked = false;
  }

  async function ask(parameters, body) {
    const query = new URLSearchParams(location.search);
    for (const [name, value] of Object.entries(parameters)) query.set(name, value);
    const answer = await fetch(`/devices/matching?${query}`, {
      method: body ? "POST" : "GET", body, signal: AbortSignal.timeout(ANSWER_MS),
    }).catch(() => { throw new Error("The connection was lost."); });
    if (answer.redirected) throw new Error("You have been signed out.");
    const json = answer.headers.get("content-type")?.startsWith("application/json");
    const said = json ? await answer.json().catch(() => null) : null;
    if (answer.ok && said) return said;
    throw new Error(said?.detail ?? `The cloud answered with HTTP status ${answer.status}.`);
  }

  async function list() {
    const found = [];
    const most = Number(form.dataset.listedMost);
    newest = 0;
    for (let part; !part || (part.devices.length === most && !stopped);) {
      part = await ask({ after: found.at(-1) ?? 0 });
      newest = Math.max(newest, part.newest);
      for (const id of part.devices) found.push(id);
    }
    return stopped ? null : found;
  }

  // See packed_ids.py.
  function packed(ids) {
    return ids.map((id, at) => (id - (ids[at - 1] ?? 0)).toString(36)).join(".");
  }

  async function act(button) {
    const fields = { do: button.value, newest };
    for (const name of ["csrf", "tag", "firmware"]) {
      fields[name] = form.elements[name]?.value ?? "";
    }
    const ids = listed;
    const most = Number(form.dataset.partMost);
    // The words of the form as it is now: it may change while this is sent.
    const done = filled(button.dataset.done, form);
    const skipped = new Map();
    let at = 0, changed = 0, entry = "", problem = "";
    try {
      for (; at < ids.length && !stopped; at += most) {
        say(`${number(at)} of ${devices(ids.length)} done …`);
        const part = ids.slice(at, at + most);
        const said = await ask({}, new URLSearchParams({ ...fields, entry, devices: packed(part) }));
        changed += said.devices;
        entry = said.entry ?? "";
        for (const [count, reason] of said.skipped) {
          skipped.set(reason, (skipped.get(reason) ?? 0) + count);
        }
      }
    } catch (error) {
      problem = `${error.message} `;
    }
    const whole = at >= ids.length;
    if (!whole) {
      problem += `Stopped after ${number(at)} of ${devices(ids.length)}: to continue, repeat the action. `;
    }
    if (whole) clear();
    const first = [...skipped].sort((one, other) => other[1] - one[1]);
    const rest = first.splice(REASONS).reduce((sum, [, count]) => sum + count, 0);
    if (rest) first.push(["other reasons", rest]);
    const why = first.map(([reason, count]) => ` Skipped ${devices(count)}: ${reason}.`);
    say(problem + done.replace("{devices}", () => devices(changed)) + why.join(""));
  }

  // One thing at a time, which the button can stop.
  async function run(job, focused) {
    busy = true;
    stopped = false;
    show();
    more.focus();
    try {
      await job();
    } catch (error) {
      say(error.message);
    } finally {
      busy = false;
      show();
      if (document.activeElement === more || document.activeElement === document.body) {
        focused.focus();
      }
    }
  }

  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-all]")) {
      for (const box of boxes()) box.checked = event.target.checked;
    }
    if (!event.target.closest(".pick")) return;
    if (!busy) listed = null;
    show();
  });
  document.addEventListener("refreshed", show);
  // Before the question of console.js.
  form?.addEventListener("click", (event) => {
    const tag = form.elements.tag;
    if (event.target.value !== "tag" || tag.value.trim()) return;
    event.preventDefault();
    say("Enter a tag first.");
    tag.focus();
  });
  // After the question of console.js.
  document.addEventListener("submit", (event) => {
    if (event.target !== form || event.defaultPrevented || !listed) return;
    event.preventDefault();
    run(() => act(event.submitter), event.submitter);
  });
  more?.addEventListener("click", () => {
    if (busy) {
      stopped = true;
    } else if (listed) {
      clear();
      show();
    } else {
      say("");
      run(async () => { listed = await list(); }, more);
    }
  });
  addEventListener("beforeunload", (event) => { if (busy) event.preventDefault(); });
  show();
}
