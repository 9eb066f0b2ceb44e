// What the page does beyond its plain form: pictures dropped or pasted, a preview, and answers without a new page.
// Without this script every question still works. All HTML comes from the server, which escapes it.
"use strict";

const form = document.getElementById("ask");
const input = document.getElementById("image");
const drop = document.getElementById("drop");
const preview = document.getElementById("preview");
const forget = document.getElementById("forget");
const answer = document.getElementById("answer");
const button = form.querySelector(".ask button");

const PLAIN = ["image/jpeg", "image/png", "image/gif", "image/webp"];
const LARGE = 2 * 2 ** 20; // bytes above which a picture is made smaller before it travels
const SIDE = 1024; // pixels; the model looks at a few hundred

let asking = null; // the question under way, to be dropped for a newer one

document.getElementById("by-picture").hidden = true;
document.getElementById("drop-hint").hidden = false;

function choose(files) {
  const picture = [...files].find((file) => file.type.startsWith("image/"));
  if (!picture) return;
  const holder = new DataTransfer();
  holder.items.add(picture);
  input.files = holder.files;
  shown();
  askByPicture();
}

function shown() {
  const picture = input.files[0];
  if (preview.src) URL.revokeObjectURL(preview.src);
  preview.hidden = forget.hidden = !picture;
  if (picture) preview.src = URL.createObjectURL(picture);
  else preview.removeAttribute("src");
}

async function smaller(picture) {
  if (PLAIN.includes(picture.type) && picture.size <= LARGE) return picture;
  try {
    const bitmap = await createImageBitmap(picture, { imageOrientation: "from-image" });
    const scale = Math.min(1, SIDE / Math.max(bitmap.width, bitmap.height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(bitmap.width * scale));
    canvas.height = Math.max(1, Math.round(bitmap.height * scale));
    const context = canvas.getContext("2d");
    context.fillStyle = "white";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.92));
    return blob || picture;
  } catch {
    return picture; // the server says what is wrong with it
  }
}

function busy(is) {
  answer.classList.toggle("busy", is);
  answer.setAttribute("aria-busy", String(is));
  button.disabled = is;
  button.textContent = is ? "Searching…" : "Search";
}

function sorry(sentence) {
  const line = document.createElement("p");
  line.className = "error";
  line.setAttribute("role", "alert");
  line.textContent = sentence;
  answer.replaceChildren(line);
}

async function askByPicture() {
  if (asking) asking.abort();
  const mine = (asking = new AbortController());
  busy(true);
  try {
    const fields = new FormData();
    for (const [name, value] of new FormData(form)) {
      if (typeof value === "string" && value.trim()) fields.append(name, value);
    }
    fields.append("image", await smaller(input.files[0]), "picture");
    const response = await fetch("/", { method: "POST", body: fields, signal: mine.signal });
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const part = page.getElementById("answer");
    if (part) answer.replaceChildren(...part.childNodes);
    else sorry("The server gave no answer (" + response.status + ").");
    watchCovers();
    answer.focus({ preventScroll: true });
  } catch (error) {
    if (error.name !== "AbortError") sorry("The server cannot be reached. Is book-search still serving?");
  } finally {
    if (asking === mine) {
      asking = null;
      busy(false);
    }
  }
}

form.addEventListener("submit", (event) => {
  if (input.files.length) {
    event.preventDefault();
    askByPicture();
    return;
  }
  // Empty fields would only make the address long.
  for (const field of form.elements) if (field.name && !field.value.trim()) field.disabled = true;
  busy(true);
});

// A page that comes back from the browser's memory is as it was left: waiting, with fields switched off.
addEventListener("pageshow", () => {
  for (const field of form.elements) field.disabled = false;
  busy(false);
  shown();
});

input.addEventListener("change", () => {
  shown();
  if (input.files.length) askByPicture();
});
forget.addEventListener("click", () => {
  input.value = "";
  shown();
  input.focus();
});

addEventListener("dragover", (event) => {
  if (![...event.dataTransfer.types].includes("Files")) return;
  event.preventDefault();
  drop.classList.add("over");
});
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) drop.classList.remove("over");
});
addEventListener("drop", (event) => {
  drop.classList.remove("over");
  if (!event.dataTransfer.files.length) return;
  event.preventDefault();
  choose(event.dataTransfer.files);
});
addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) choose(event.clipboardData.files);
});

// A cover that is not in the lake says so, instead of a broken picture.
function watchCovers() {
  for (const image of answer.querySelectorAll(".cover img")) {
    const gone = () => {
      image.parentElement.classList.add("gone");
      image.replaceWith("no picture here");
    };
    if (image.complete && !image.naturalWidth && image.loading !== "lazy") gone();
    else image.addEventListener("error", gone, { once: true });
  }
}
watchCovers();
