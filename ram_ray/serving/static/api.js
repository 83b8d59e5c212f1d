// The only file that knows the server's addresses and shapes; the page has its own below.

import { SCORE_FLOOR } from "./state.js";

const KEY_NAME = "ram-ray-api-key";
const BUSY = new Set([429, 503]);
const TRIES = 6;
const LONGEST_WAIT_S = 30;

/** The server refused or failed: `code` is one of its error codes, `message` one sentence. */
export class ApiError extends Error {
  constructor(code, message, { status = 0, retryAfterS = null, requestId = null, details = [] } = {}) {
    super(message);
    Object.assign(this, { code, status, retryAfterS, requestId, details });
  }
}

/** Return whether a key is kept. */
export function hasApiKey() {
  return sessionStorage.getItem(KEY_NAME) !== null;
}

/** Keep the key for this tab, or forget it. */
export function setApiKey(key) {
  if (key) sessionStorage.setItem(KEY_NAME, key);
  else sessionStorage.removeItem(KEY_NAME);
}

/** Return {models, maxImageBytes} of the server. */
export async function describeServer() {
  const { models, limits } = await getJson("v1/models");
  return {
    maxImageBytes: limits.max_image_bytes,
    models: models.map((model) => ({
      id: model.id,
      numTags: model.num_tags,
      openSet: model.capabilities.open_set,
      caption: model.capabilities.caption,
      boxes: model.capabilities.boxes,
      chinese: model.chinese,
      isDefault: model.default,
      notes: model.notes,
    })),
  };
}

/** Return the tags of the vocabulary that fit what was typed. */
export async function searchTags(query, model) {
  const body = await getJson("v1/tags?" + new URLSearchParams({ query, model, limit: "12" }));
  return body.tags.map(asTag);
}

/** Return {pictures: [{name, url, title, credit, licence}], open} of this server's examples. */
export async function listExamples() {
  const { open, pictures } = await getJson("static/examples/examples.json");
  const url = ({ name }) => `static/examples/${name.split("/").map(encodeURIComponent).join("/")}`;
  return { open, pictures: pictures.map((picture) => ({ ...picture, url: url(picture) })) };
}

/**
 * Return the result of one picture; throws ApiError. Waits and tries again where the server is
 * busy; `onWait(seconds)` is told.
 */
export async function tagPicture(blob, name, { model, words, caption, boxes }, { signal, onWait }) {
  const form = new FormData();
  form.append("files", blob, name);
  form.append("model", model);
  form.append("score_floor", String(words.length > 0 ? 0 : SCORE_FLOOR)); // of own words every score
  for (const word of words) form.append("tags", word);
  if (caption) form.append("caption", "true");
  if (boxes) form.append("boxes", "true");
  for (let tries = 1; ; tries += 1) {
    try {
      const body = await postForm("v1/tag", form, signal);
      return asResult(body);
    } catch (error) {
      const busy = error instanceof ApiError && BUSY.has(error.status);
      if (!busy || tries === TRIES) throw error;
      const seconds = Math.min(error.retryAfterS ?? 2 ** tries / 2, LONGEST_WAIT_S);
      onWait?.(seconds);
      await pause(seconds, signal);
    }
  }
}

/** Return {jobs, sources, outputs}: jobs of this server, and the prefixes a new one may use. */
export async function listJobs() {
  return getJson("v1/jobs");
}

/** Return {num_images, num_bytes, is_complete, price, currency} of a job that would read `source`. */
export async function planJob(source) {
  return postJson("v1/jobs/plan", { source });
}

/** Start a tagging job of {source, output, model, tags, threshold}; returns it. */
export async function startJob(job) {
  return postJson("v1/jobs", job);
}

/** Ask for the end of a job; what is committed stays. */
export async function cancelJob(id) {
  return send(`v1/jobs/${encodeURIComponent(id)}/cancel`, { method: "POST" });
}

function asResult(body) {
  const [result] = body.images;
  if (result.error) throw new ApiError(result.error.code, result.error.message);
  return {
    width: result.width,
    height: result.height,
    tags: result.tags.map(asTag),
    caption: result.caption ?? null,
    boxes: (result.boxes ?? []).map(({ tag_id: tagId, ...box }) => ({ tagId, ...box })),
    notes: body.notes,
  };
}

function asTag(tag) {
  const { id, name, name_zh: nameZh, kind, score, threshold } = tag;
  return { id, name, nameZh: nameZh?.trim() || null, kind, score, threshold };
}

function getJson(path) {
  return send(path, {});
}

function postJson(path, body) {
  const headers = { "Content-Type": "application/json" };
  return send(path, { method: "POST", headers, body: JSON.stringify(body) });
}

function postForm(path, form, signal) {
  return send(path, { method: "POST", body: form, signal });
}

async function send(path, options) {
  const headers = new Headers(options.headers);
  const key = sessionStorage.getItem(KEY_NAME);
  if (key) headers.set("Authorization", `Bearer ${key}`);
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("server_unreachable", "The server cannot be reached.");
  }
  const body = await readJson(response);
  if (response.ok && body !== null) return body;
  const seconds = Number(response.headers.get("Retry-After"));
  // a proxy before the server refuses in plain text
  const otherwise = BUSY.has(response.status) ? "overloaded" : "unexpected_answer";
  throw new ApiError(
    body?.error?.code ?? otherwise,
    body?.error?.message ?? `The server answered ${response.status}.`,
    {
      status: response.status,
      retryAfterS: seconds > 0 ? seconds : null,
      details: body?.error?.details ?? [],
      requestId: body?.request_id ?? response.headers.get("X-Request-ID"),
    },
  );
}

async function readJson(response) {
  try {
    return await response.json();
  } catch {
    return null; // an answer of something in between, such as a proxy
  }
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    }, { once: true });
  });
}
