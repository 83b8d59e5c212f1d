// Which tags are shown: pure functions of a result and the visitor's choices.

/** Tell whether a tag is given: its score is strictly above the threshold, as in the batch. */
export function isGiven(tag, threshold) {
  return tag.score > (threshold === "own" ? tag.threshold : threshold);
}

/** Return {given, weaker}: tags of the chosen kinds, above and below the threshold. */
export function splitTags(result, { threshold, kinds }) {
  const given = [];
  const weaker = [];
  for (const tag of result?.tags ?? []) {
    if (kinds.size > 0 && !kinds.has(tag.kind)) continue;
    (isGiven(tag, threshold) ? given : weaker).push(tag);
  }
  return { given, weaker };
}

/** Return the tag's name in a language; English where the model has no other. */
export function tagName(tag, language) {
  return (language === "zh" && tag.nameZh) || tag.name;
}

/** Return [{tag, count}] of the tags given most often, falling. */
export function frequentTags(pictures, choices, atMost) {
  const counts = new Map();
  for (const picture of pictures) {
    for (const tag of splitTags(picture.result, choices).given) {
      const entry = counts.get(tag.name) ?? { tag, count: 0 };
      entry.count += 1;
      counts.set(tag.name, entry);
    }
  }
  const order = (a, b) => b.count - a.count || a.tag.name.localeCompare(b.tag.name);
  return [...counts.values()].sort(order).slice(0, atMost);
}

/** Tell whether a picture passes the batch view's filter. */
export function passesFilter(picture, choices) {
  const { text, tag, failed } = choices.filter;
  if (failed) return picture.error !== null;
  const { given } = splitTags(picture.result, choices);
  if (tag !== null) return given.some((each) => each.name === tag);
  const wanted = text.trim().toLocaleLowerCase();
  if (wanted === "") return true;
  const names = [picture.name, ...given.flatMap((each) => [each.name, each.nameZh])];
  return names.some((name) => name?.toLocaleLowerCase().includes(wanted));
}

/** Return [[kind, tags]] of the kinds that occur, in the order of `kinds`. */
export function groupByKind(tags, kinds) {
  const groups = kinds.map((kind) => [kind, tags.filter((tag) => tag.kind === kind)]);
  return groups.filter(([, members]) => members.length > 0);
}

/** Return pictures in the chosen order; scores are those of the tag that is filtered by. */
export function inOrder(pictures, choices) {
  if (choices.sort === "added") return pictures;
  const scoreOf = (picture) => {
    const tags = picture.result?.tags ?? [];
    const wanted = choices.filter.tag;
    const counted = wanted === null ? splitTags(picture.result, choices).given
      : tags.filter((tag) => tag.name === wanted);
    return Math.max(-1, ...counted.map((tag) => tag.score));
  };
  const order = choices.sort === "name"
    ? (a, b) => a.name.localeCompare(b.name, undefined, { numeric: true })
    : (a, b) => scoreOf(b) - scoreOf(a);
  return [...pictures].sort(order);
}

/** Return a score as people read it: "87%". */
export function percent(score) {
  return `${Math.round(score * 100)}%`;
}
