// Results as JSON or CSV: exactly the tags that are shown, with their scores.

import { state, FAILED, DONE } from "./state.js";
import { splitTags } from "./tags.js";

/** Return the shown results of these pictures as formatted JSON. */
export function toJson(pictures) {
  return JSON.stringify({
    model: state.model,
    threshold: state.threshold === "own" ? "model" : state.threshold,
    pictures: finished(pictures).map(asRecord),
  }, null, 2);
}

/** Return the shown results as CSV, one row a tag; a failed picture is one row with its code. */
export function toCsv(pictures) {
  const rows = [["picture", "tag", "tag_zh", "kind", "score", "error_code"]];
  for (const picture of finished(pictures)) {
    if (picture.status === FAILED) rows.push([picture.name, "", "", "", "", picture.error.code]);
    for (const tag of shown(picture)) {
      const { name, nameZh, kind, score } = tag;
      rows.push([picture.name, name, nameZh ?? "", kind, score.toFixed(4), ""]);
    }
  }
  return rows.map((row) => row.map(cell).join(",") + "\r\n").join("");
}

/**
 * Return what was said of tags as the CSV that the data engine takes (`--set corrections=FILE`).
 * Names stay as they are: the engine finds pictures by them.
 */
export function toCorrections(pictures) {
  const rows = [["image_id", "tag", "present"]];
  for (const picture of pictures) {
    for (const [tag, isThere] of state.verdicts.get(picture.id) ?? []) {
      rows.push([picture.name, tag, isThere ? "1" : "0"]);
    }
  }
  return rows.map((row) => row.map(quoted).join(",") + "\r\n").join("");
}

/** Save a text as a file of the visitor. */
export function download(text, fileName, type) {
  const bytes = type === "text/csv" ? "\ufeff" + text : text; // Excel needs the mark for UTF-8
  const url = URL.createObjectURL(new Blob([bytes], { type: `${type};charset=utf-8` }));
  const link = document.createElement("a");
  link.href = url;
  link.download = fileName;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

function finished(pictures) {
  return pictures.filter((picture) => [DONE, FAILED].includes(picture.status));
}

function shown(picture) {
  return picture.status === DONE ? splitTags(picture.result, state).given : [];
}

function asRecord(picture) {
  if (picture.status === FAILED) {
    return { picture: picture.name, error_code: picture.error.code, message: picture.error.message };
  }
  const { width, height, caption } = picture.result;
  const tags = shown(picture).map(({ id, name, nameZh, kind, score }) => (
    { id, name, ...(nameZh ? { name_zh: nameZh } : {}), kind, score }));
  return { picture: picture.name, width, height, ...(state.captions && caption ? { caption } : {}), tags };
}

function cell(value) {
  const text = String(value);
  // a spreadsheet would run a name that starts like a formula
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return quoted(safe);
}

function quoted(text) {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
