// The page: asks the server what it can do, takes pictures in, and shows the right view.

import { describeServer, hasApiKey, listExamples, setApiKey } from "./api.js";
import { filteredPictures, setUpBatch } from "./batch.js";
import { setUpChoices } from "./choices.js";
import { announceResult, openNeighbour, setUpDetail } from "./detail.js";
import { byId, h, toast } from "./element.js";
import { download, toCorrections, toCsv, toJson } from "./export.js";
import { jobsEnabled, redrawJobs, showJobs } from "./jobs.js";
import { addFiles, fetchFile, filesOf, filesOfDrop } from "./pictures.js";
import { cancel, retry, run, runAgain, whenKeyIsNeeded } from "./queue.js";
import { changed, currentModel, DONE, FAILED, keepPictures, onChange, openPicture, state } from "./state.js";
import { language, setLanguage, t } from "./text.js";

const ASK_AGAIN_MS = 3000;

let examples = [];

function start() {
  setUpHeader();
  setUpIntake();
  setUpKeys();
  setUpKeyDialog();
  setUpChoices();
  setUpBatch();
  setUpDetail();
  onChange(drawPage);
  addEventListener("hashchange", route);
  route();
  connect();
  loadExamples().catch((error) => console.warn("No examples:", error)); // the page works without
}

/** Ask the server for its models until it answers. */
async function connect() {
  try {
    const { models, maxImageBytes } = await describeServer();
    const chosen = models.find((model) => model.isDefault) ?? models[0];
    Object.assign(state, { models, model: chosen.id, maxImageBytes });
  } catch (error) {
    if (error.status === 401) {
      askForKey();
      return;
    }
    byId("offline").hidden = false;
    setTimeout(connect, ASK_AGAIN_MS);
    return;
  }
  byId("offline").hidden = true;
  drawModels();
  byId("nav").hidden = !await jobsEnabled();
  changed();
  run();
}

async function loadExamples() {
  const { pictures, open } = await listExamples();
  examples = pictures;
  byId("examples").hidden = pictures.length === 0 || open;
  byId("example-list").replaceChildren(...pictures.map((example) => h("li", {},
    h("button", { type: "button", "aria-label": example.title ?? example.name, onclick: () => take([example]) },
      h("img", { src: example.url, alt: "", loading: "lazy" })))));
  if (open) await take(pictures);
}

/** Take pictures of this server. */
async function take(list) {
  const files = [];
  for (const example of list) files.push(await fetchFile(example));
  accept(files);
}

function accept(files) {
  if (files.length === 0) {
    toast(t("no_pictures"));
    return;
  }
  const { added, left } = addFiles(files);
  if (left > 0) toast(t("too_many", { count: left }));
  if (state.pictures.length === 1) location.hash = `#picture-${added[0].id}`;
  else if (added.length > 0) location.hash = "#";
  run();
}

function setUpIntake() {
  for (const button of document.querySelectorAll(".choose")) {
    button.addEventListener("click", () => byId("files").click());
  }
  byId("files").addEventListener("change", (event) => {
    accept(filesOf(event.target.files));
    event.target.value = "";
  });
  addEventListener("paste", (event) => {
    if (event.clipboardData.files.length > 0) accept(filesOf(event.clipboardData.files));
  });
  let depth = 0; // dragenter and dragleave also come from the elements inside
  const over = (change) => {
    depth = change === 0 ? 0 : depth + change;
    byId("drop-here").hidden = depth === 0;
  };
  addEventListener("dragenter", (event) => { event.preventDefault(); over(1); });
  addEventListener("dragleave", () => over(-1));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", async (event) => {
    event.preventDefault();
    over(0);
    accept(await filesOfDrop(event.dataTransfer));
  });
}

function setUpHeader() {
  const saved = (name, otherwise) => localStorage.getItem(`ram-ray-${name}`) ?? otherwise;
  const save = (name, value) => localStorage.setItem(`ram-ray-${name}`, value);
  const theme = byId("theme");
  theme.value = saved("theme", "auto");
  const paint = () => { document.documentElement.dataset.theme = theme.value; };
  theme.addEventListener("change", () => { save("theme", theme.value); paint(); });
  paint();
  const chooser = byId("language");
  chooser.value = saved("language", navigator.language.startsWith("zh") ? "zh" : "en");
  setLanguage(chooser.value);
  chooser.addEventListener("change", () => {
    save("language", chooser.value);
    setLanguage(chooser.value);
    redrawJobs();
    changed();
  });
  byId("model").addEventListener("change", (event) => {
    state.model = event.target.value;
    runAgain();
  });
  byId("clear").addEventListener("click", () => {
    cancel();
    keepPictures(() => false);
    location.hash = "#";
    byId("words").value = "";
    byId("choices-panel").open = false;
  });
  byId("stop").addEventListener("click", cancel);
  byId("back").addEventListener("click", () => { location.hash = "#"; });
  byId("download-json").addEventListener("click", () => download(toJson(chosen()), "tags.json", "application/json"));
  byId("download-csv").addEventListener("click", () => download(toCsv(chosen()), "tags.csv", "text/csv"));
  byId("download-corrections").addEventListener("click", () => {
    download(toCorrections(state.pictures), "corrections.csv", "text/csv");
  });
}

function setUpKeys() {
  addEventListener("keydown", (event) => {
    const typing = event.target.matches("input:not([type=radio]), select, textarea");
    if (event.ctrlKey || event.metaKey || event.altKey || byId("key-dialog").open) return;
    if (event.key === "Escape" && openPicture() && state.pictures.length > 1) location.hash = "#";
    if (typing) return;
    if (event.key === "ArrowLeft") openNeighbour(-1);
    if (event.key === "ArrowRight") openNeighbour(1);
    if (event.key === "/" && !byId("batch").hidden) {
      event.preventDefault();
      byId("filter").focus();
    }
  });
}

function setUpKeyDialog() {
  whenKeyIsNeeded(askForKey);
  byId("key-close").addEventListener("click", () => byId("key-dialog").close());
  byId("key-form").addEventListener("submit", () => {
    setApiKey(byId("key").value.trim());
    byId("key").value = "";
    for (const picture of state.pictures) if (picture.error?.status === 401) retry(picture);
    connect();
  });
}

function askForKey() {
  byId("key-wrong").hidden = !hasApiKey(); // one was given, and refused
  setApiKey(null);
  if (!byId("key-dialog").open) byId("key-dialog").showModal();
}

/** Follow the address: #picture-N opens one, #jobs the jobs, anything else all pictures. */
function route() {
  const before = state.openId;
  const id = /^#picture-(\d+)$/.exec(location.hash)?.[1];
  state.openId = state.pictures.find((picture) => picture.id === Number(id))?.id ?? null;
  if (state.openId === null && state.pictures.length === 1) state.openId = state.pictures[0].id;
  const jobs = location.hash === "#jobs";
  byId("pictures").hidden = jobs;
  byId("nav-pictures").setAttribute("aria-current", jobs ? "false" : "page");
  byId("nav-jobs").setAttribute("aria-current", jobs ? "page" : "false");
  showJobs(jobs);
  changed();
  if (before !== null && state.openId === null) {
    requestAnimationFrame(() => requestAnimationFrame(() => byId(`card-${before}`)?.focus()));
  }
}

function chosen() {
  const open = openPicture();
  if (open) return [open];
  const shown = filteredPictures();
  const selected = shown.filter((picture) => state.selected.has(picture.id));
  return selected.length > 0 ? selected : shown;
}

let announced = null;

function drawPage() {
  const { pictures } = state;
  const done = pictures.filter((each) => [DONE, FAILED].includes(each.status)).length;
  byId("pictures").setAttribute("aria-busy", String(done < pictures.length));
  byId("start").hidden = pictures.length > 0;
  byId("work").hidden = pictures.length === 0;
  byId("back").hidden = openPicture() === null || pictures.length < 2;
  byId("back").textContent = `← ${t("back")}`;
  byId("progress").hidden = done === pictures.length || pictures.length < 2;
  byId("progress-bar").max = pictures.length || 1;
  byId("progress-bar").value = done;
  byId("progress-text").textContent = t("progress", { done, count: pictures.length });
  const shown = filteredPictures().length;
  byId("count").textContent = openPicture() ? "" : countSentence(shown, pictures.length);
  for (const format of ["json", "csv"]) {
    const button = byId(`download-${format}`);
    button.disabled = done === 0;
    button.title = t("download_label", { format: format.toUpperCase() });
    button.setAttribute("aria-label", button.title);
  }
  const said = [...state.verdicts.values()].reduce((sum, tags) => sum + tags.size, 0);
  byId("download-corrections").hidden = said === 0;
  byId("download-corrections").textContent = t("corrections", { count: said });
  byId("download-corrections").title = t("corrections_hint");
  const model = currentModel();
  byId("footer-model").textContent = model ? modelSentence(model) : "";
  byId("footer-keys").hidden = pictures.length < 2;
  const open = openPicture();
  const news = open && `${open.id} ${open.status} ${language()}`;
  if (open && news !== announced) announceResult(open);
  announced = news;
}

function modelSentence(model) {
  const facts = [model.id, t("tags_count", { count: model.numTags.toLocaleString() }), ...model.notes];
  if (model.id === "ram-mini") facts.push(t("footer_mini"));
  return facts.join(" · ");
}

function countSentence(shown, count) {
  if (shown !== count) return t("shown_some", { shown, count });
  return count === 1 ? t("shown_one") : t("shown_all", { count });
}

function drawModels() {
  const chooser = byId("model");
  chooser.replaceChildren(...state.models.map((model) => h("option", { value: model.id }, model.id)));
  chooser.value = state.model;
  chooser.hidden = state.models.length < 2;
}

start();
