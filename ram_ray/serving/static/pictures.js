// Files become pictures: chosen, dropped (folders too), pasted, or one of the examples.

import { changed, state, WAITING } from "./state.js";

const MOST_PICTURES = 500;
const THUMBNAIL_PX = 480;
const IMAGE_NAME = /\.(jpe?g|jfif|png|apng|gif|webp|avif|tiff?|bmp|dib|mpo|heic|heif)$/i;

let lastId = 0;

/** Add these files; returns {added, left}: pictures, and how many did not fit. */
export function addFiles(files) {
  const room = MOST_PICTURES - state.pictures.length;
  const added = files.slice(0, room).map(({ blob, name, credit }) => {
    lastId += 1;
    return {
      id: lastId, name, blob, credit: credit ?? null, status: WAITING,
      url: URL.createObjectURL(blob), thumbnailUrl: null, result: null, error: null,
    };
  });
  state.pictures.push(...added);
  changed();
  return { added, left: Math.max(0, files.length - room) };
}

/** Return the files of a paste or a file input. */
export function filesOf(list) {
  return [...list].map((blob) => ({ blob, name: blob.name || "pasted.png" }));
}

/** Return the dropped files, those inside dropped folders included. */
export async function filesOfDrop(transfer) {
  const items = [...transfer.items].filter((item) => item.kind === "file");
  // the list empties itself after the event: entries must be taken before the first await
  const entries = items.map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
  const found = await Promise.all(entries.map((entry) => filesIn(entry, true)));
  return found.flat();
}

/** Return the picture of an address of this server as a file. */
export async function fetchFile({ url, name, title, credit, licence }) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  return { blob: await response.blob(), name, credit: credit ? { title, credit, licence } : null };
}

/** Make the small picture of the batch view; formats the browser cannot show have none. */
export async function makeThumbnail(picture) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(picture.blob);
  } catch {
    return; // shown by its name alone
  }
  const scale = Math.min(1, THUMBNAIL_PX / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/webp", 0.85));
  if (!blob || !state.pictures.includes(picture)) return;
  picture.thumbnailUrl = URL.createObjectURL(blob);
  changed();
}

async function filesIn(entry, isTop) {
  if (entry === null) return [];
  if (entry instanceof File) return [{ blob: entry, name: entry.name }];
  if (entry.isFile) {
    // a folder also holds other files; what was dropped itself is always tried
    if (!isTop && !IMAGE_NAME.test(entry.name)) return [];
    const blob = await new Promise((resolve, reject) => entry.file(resolve, reject));
    return [{ blob, name: entry.fullPath.replace(/^\//, "") }];
  }
  const found = [];
  for (const child of await readFolder(entry)) found.push(...await filesIn(child, false));
  return found;
}

async function readFolder(folder) {
  const reader = folder.createReader();
  const all = [];
  for (;;) { // it gives 100 at a time
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) return all.sort((a, b) => a.name.localeCompare(b.name));
    all.push(...some);
  }
}
