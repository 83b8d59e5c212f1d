// Tagging jobs of the cluster: start one, see running and past ones.

import { cancelJob, listJobs, planJob, startJob } from "./api.js";
import { byId, h, toast } from "./element.js";
import { errorSentence } from "./errors.js";
import { state } from "./state.js";
import { language, t } from "./text.js";

const EVERY_MS = 2000;
const RUNNING = new Set(["pending", "running"]);

let timer;
let shown = null;
let error = null;
let formOf = null;

/** Return whether this server takes jobs; a server that cannot be asked has none. */
export async function jobsEnabled() {
  try {
    return (await listJobs()).enabled;
  } catch (problem) {
    console.warn("No jobs:", problem.message);
    return false;
  }
}

/** Show or leave the view; the list follows the cluster while it is open. */
export function showJobs(visible) {
  byId("jobs").hidden = !visible;
  clearTimeout(timer);
  if (visible) refresh();
}

/** Draw again, in another language. */
export function redrawJobs() {
  formOf = null;
  if (!byId("jobs").hidden) draw();
}

async function refresh() {
  clearTimeout(timer);
  try {
    shown = await listJobs();
    error = null;
  } catch (problem) {
    error = errorSentence(problem);
  }
  draw();
  if (!byId("jobs").hidden) timer = setTimeout(refresh, EVERY_MS);
}

function draw() {
  const view = byId("jobs");
  if (shown && !shown.enabled) {
    view.replaceChildren(h("p", { class: "empty" }, t("jobs_off")));
    return;
  }
  const places = JSON.stringify([shown?.sources, shown?.outputs, state.models.map(({ id }) => id), language()]);
  if (formOf !== places) {
    formOf = places;
    view.replaceChildren(form(), h("p", { id: "jobs-error", class: "notice", role: "alert", hidden: true }),
      h("h2", {}, t("jobs_list")), h("ul", { id: "job-list" }));
  }
  byId("jobs-error").hidden = error === null;
  byId("jobs-error").textContent = error ?? "";
  const jobs = shown?.jobs ?? [];
  byId("job-list").replaceChildren(...jobs.map(jobCard),
    ...(jobs.length === 0 && shown ? [h("li", { class: "empty" }, t("jobs_none"))] : []));
}

function form() {
  const source = place("jobs_source", "source", shown?.sources ?? []);
  const output = place("jobs_output", "output", shown?.outputs ?? [], `run-${today()}`);
  return h("form", {
    class: "panel job-form",
    onsubmit: (event) => {
      event.preventDefault();
      start(event.target);
    },
  }, h("h1", {}, t("jobs_title")), h("p", { class: "soft" }, t("jobs_lead")), source, output, options(),
  h("div", { class: "row" },
    h("button", { type: "submit", class: "main" }, t("jobs_start")),
    h("button", { type: "button", onclick: (event) => showPlan(event.target.form) }, t("jobs_plan_button")),
    h("output", { id: "jobs-plan", class: "soft" })));
}

/** Model, tags and threshold: what a job may choose beside its places. */
function options() {
  const model = h("select", { name: "model", "aria-label": t("model") },
    state.models.map(({ id }) => h("option", { value: id, selected: id === state.model }, id)));
  const tags = h("input", {
    name: "tags", "aria-label": t("jobs_tags"), placeholder: t("jobs_tags_hint"), autocomplete: "off", spellcheck: "false",
  });
  const threshold = h("select", { name: "threshold", "aria-label": t("jobs_threshold") },
    h("option", { value: "" }, t("threshold_own")),
    [30, 40, 50, 60, 70, 80, 90].map((value) => h("option", { value: value / 100 }, `${value}%`)));
  const field = (label, control) => h("label", {}, h("span", { class: "hint" }, t(label)), control);
  return h("div", { class: "job-options" }, field("model", model), field("jobs_tags", tags),
    field("jobs_threshold", threshold));
}

/** Say what a job would read, and its price where the operator has said one. */
async function showPlan(element) {
  const box = byId("jobs-plan");
  box.textContent = "…";
  try {
    box.textContent = planSentence(await planJob(pathOf(new FormData(element), "source")));
  } catch (problem) {
    box.textContent = errorSentence(problem);
  }
}

function planSentence(plan) {
  const locale = language() === "zh" ? "zh-CN" : undefined;
  if (plan.num_images === 0 && plan.is_complete) return t("jobs_plan_none");
  const gigabytes = plan.num_bytes / 1e9;
  const size = gigabytes >= 1 ? `${gigabytes.toFixed(1)} GB` : `${(plan.num_bytes / 1e6).toFixed(1)} MB`;
  const counted = t(plan.is_complete ? "jobs_plan" : "jobs_plan_least", {
    count: plan.num_images.toLocaleString(locale), size,
  });
  if (plan.price === null) return counted;
  const price = plan.price.toLocaleString(locale, { style: "currency", currency: plan.currency });
  return `${counted}, ${t("jobs_price", { price })}`;
}

/** A prefix that the operator allows, and the folder below it. */
function place(label, name, prefixes, proposal = "") {
  const select = h("select", { name: `${name}-prefix`, "aria-label": t(label) },
    prefixes.map((prefix) => h("option", { value: prefix }, prefix)));
  const rest = h("input", {
    name: `${name}-rest`, value: proposal, "aria-label": `${t(label)}: ${t("jobs_rest")}`,
    placeholder: t("jobs_rest"), autocomplete: "off", spellcheck: "false",
  });
  return h("fieldset", {}, h("legend", {}, t(label)), select, rest);
}

/** Every job needs an output of its own: propose one from the time. */
function today() {
  return new Date().toISOString().slice(0, 19).replaceAll(/[-:]/g, "").replace("T", "-");
}

function pathOf(fields, name) {
  const rest = fields.get(`${name}-rest`).trim();
  const prefix = fields.get(`${name}-prefix`);
  return rest ? `${prefix.replace(/\/$/, "")}/${rest.replace(/^\//, "")}` : prefix;
}

async function start(element) {
  const fields = new FormData(element);
  const job = { source: pathOf(fields, "source"), output: pathOf(fields, "output") };
  job.model = fields.get("model") ?? state.model;
  const tags = fields.get("tags").split(/[,，、;]/).map((tag) => tag.trim()).filter(Boolean);
  if (tags.length > 0) job.tags = tags;
  if (fields.get("threshold")) job.threshold = Number(fields.get("threshold"));
  await act(async () => {
    await startJob(job);
    element.elements["output-rest"].value = `run-${today()}`; // the next job needs another one
  });
}

async function act(request) {
  try {
    await request();
  } catch (problem) {
    toast(errorSentence(problem));
  }
  await refresh();
}

function jobCard(job) {
  const planned = job.num_images;
  const done = (job.num_tagged ?? 0) + (job.num_quarantined ?? 0);
  const running = RUNNING.has(job.status);
  return h("li", { class: `panel job ${job.status}` },
    h("div", { class: "job-head" },
      h("span", { class: "badge" }, t(`job_${job.status}`)),
      h("code", { class: "path" }, job.source, h("span", { "aria-hidden": "true" }, " → "), job.output),
      h("time", { datetime: job.submitted_at }, new Date(job.submitted_at).toLocaleString(
        language() === "zh" ? "zh-CN" : undefined))),
    running || done > 0 ? h("progress", {
      max: planned || 1, value: planned ? done : null, "aria-label": t("job_running"),
    }) : null,
    h("div", { class: "row" },
      h("span", { class: "soft" }, progressSentence(job, planned, done)),
      h("span", { class: "space" }),
      running ? h("button", { type: "button", onclick: () => act(() => cancelJob(job.id)) }, t("jobs_cancel")) : null,
      h("button", { type: "button", class: "quiet", onclick: () => copy(job.output) }, t("jobs_copy"))));
}

function progressSentence(job, planned, done) {
  if (job.status === "failed") return job.message;
  if (planned === null) return job.status === "running" ? t("jobs_planning") : "";
  const number = (value) => value.toLocaleString();
  if (job.status === "succeeded") {
    return t("jobs_counts", { tagged: number(job.num_tagged), quarantined: number(job.num_quarantined) });
  }
  return t("jobs_progress", { done: number(done), count: number(planned) });
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    toast(t("copied"));
  } catch {
    toast(t("copy_failed"));
  }
}
