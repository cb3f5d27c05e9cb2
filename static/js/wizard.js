// The task wizard: shows what belongs to the choices made, and sees to it that nothing is lost.
// The form saves itself through htmx; this adds what a lost connection and a closed page need.
const form = document.getElementById("wizard");
const help = JSON.parse(document.getElementById("choice-help").textContent);
const value = (name) => form.elements[name]?.value ?? "";
let unsaved = false;

// Requests may overtake each other; the server drops what comes after a later one of this page.
function nextTurn() {
  form.elements.turn.value = Number(form.elements.turn.value) + 1;
  return form.elements.turn.value;
}

function adapt() {
  form.querySelectorAll("[data-shown-for]").forEach((node) => {
    const conditions = node.dataset.shownFor.split(";").map((one) => one.split("="));
    // A choice that was made on another step stays as the server drew it.
    const here = conditions.filter(([name]) => form.elements[name]);
    if (here.length) node.hidden = !here.every(([name, choices]) => choices.split(",").includes(value(name)));
  });
  form.querySelectorAll("[data-choice-help]").forEach((node) => {
    node.textContent = help[node.dataset.choiceHelp]?.[value(node.dataset.choiceHelp)] ?? "";
  });
}

function tell(text) {
  const state = document.getElementById("draft-state");
  if (state) state.textContent = text;
}

form.addEventListener("input", () => {
  unsaved = true;
  adapt();
});
form.addEventListener("submit", (event) => {
  unsaved = false; // the post carries it
  nextTurn();
  event.submitter?.classList.add("is-busy");
});

form.addEventListener("htmx:configRequest", (event) => {
  if (event.target === form) event.detail.parameters.turn = nextTurn();
});
form.addEventListener("htmx:afterRequest", (event) => {
  if (!event.detail.successful || event.target !== form) return;
  const state = document.getElementById("draft-state");
  if (!state.querySelector(".banner")) {
    unsaved = false;
    document.getElementById("draft-version").value = state.dataset.version;
  }
});
form.addEventListener("htmx:sendError", () => {
  tell("Not saved: the server cannot be reached. What you typed stays here; trying again.");
  setTimeout(() => unsaved && form.dispatchEvent(new Event("keep-mine")), 3000);
});

// Another page saved first: take ours anyway.
document.addEventListener("click", (event) => {
  if (event.target.id !== "keep-mine") return;
  const keep = document.createElement("input");
  Object.assign(keep, { type: "hidden", name: "keep", value: "1" });
  form.append(keep);
  form.addEventListener("htmx:afterRequest", () => keep.remove(), { once: true });
  form.dispatchEvent(new Event("keep-mine"));
});

// Closed within the half second that autosave waits.
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "hidden" && unsaved) {
    nextTurn();
    const typed = new FormData(form);
    form.querySelectorAll("input[type=file]").forEach((input) => typed.delete(input.name)); // never unasked
    navigator.sendBeacon(form.dataset.save, typed);
  }
});

adapt();
document.getElementById("form-errors")?.focus();
