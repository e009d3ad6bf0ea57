// Uploads a file that was dropped or chosen on the Firmware page, and shows the progress.
"use strict";

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
      say(`${chosen.name} (${bytes(chosen.size)}) exceeds the limit of ${bytes(Number(form.dataset.most))}.`);
      return;
    }
    file = chosen;
    form.querySelector("[data-file]").textContent = file.name;
    form.querySelector("[data-size]").textContent = bytes(file.size);
    more.hidden = false;
    button.focus();
  }

  input.addEventListener("change", () => {
    choose(input.files[0]);
    // Otherwise choosing the same file again, after it was built anew, is no change.
    input.value = "";
  });
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
    for (const name of ["version", "application", "hardware"]) {
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
        percent < 100 ? `${percent} %` : "verifying";
    });
    request.addEventListener("load", () => {
      let answer = {};
      try { answer = JSON.parse(request.responseText); } catch { /* a proxy's own page */ }
      if (request.status === 201) {
        location.assign(`/firmware/${answer.firmware.id}`);
        return;
      }
      failed(answer.detail || `The upload failed with HTTP status ${request.status}.`);
    });
    request.addEventListener("error", () => failed(
      "The connection was lost, or the file has changed since you chose it. Nothing was stored. Choose the file again."));
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
