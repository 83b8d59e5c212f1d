// Filters the cards by text and score. Without it the page shows everything.
(() => {
  const search = document.getElementById("search");
  const threshold = document.getElementById("threshold");
  const cards = [...document.querySelectorAll(".card")].map((element) => ({
    element,
    name: element.dataset.name.toLowerCase(),
    more: element.querySelector(".more"),
    none: element.querySelector(".none"),
    tags: [...element.querySelectorAll("li")].map((row) => ({
      row, tag: row.dataset.tag.toLowerCase(), score: Number(row.dataset.score),
    })),
  }));
  const chips = [...document.querySelectorAll(".chips button")];
  const FEW = 6;
  let exact = null; // a pressed chip matches its whole tag, typed text any part

  function update() {
    const text = search.value.trim().toLowerCase();
    const lowest = Number(threshold.value);
    document.getElementById("value").textContent = lowest.toFixed(2);
    let shown = 0;
    for (const card of cards) {
      const above = card.tags.filter((entry) => entry.score >= lowest);
      const hits = above.filter((entry) =>
        exact !== null ? entry.tag === exact : text !== "" && entry.tag.includes(text));
      const fits = exact !== null ? hits.length > 0
        : text === "" || hits.length > 0 || card.name.includes(text);
      card.element.hidden = !fits;
      shown += fits ? 1 : 0;
      const open = card.element.dataset.open === "yes";
      const kept = new Set(open ? above : above.slice(0, FEW).concat(hits));
      for (const entry of card.tags) {
        entry.row.hidden = !kept.has(entry);
        entry.row.classList.toggle("hit", hits.includes(entry));
      }
      const rest = above.length - kept.size;
      card.more.hidden = rest <= 0;
      card.more.textContent = rest + " more";
      card.none.hidden = above.length > 0;
    }
    for (const chip of chips) {
      chip.setAttribute("aria-pressed", String(exact === chip.dataset.tag.toLowerCase()));
    }
    const all = shown === cards.length;
    document.getElementById("shown").textContent =
      all ? cards.length + " pictures" : shown + " of " + cards.length + " pictures";
    document.getElementById("empty").hidden = shown > 0;
  }

  search.addEventListener("input", () => { exact = null; update(); });
  threshold.addEventListener("input", update);
  for (const chip of chips) {
    chip.addEventListener("click", () => {
      const tag = chip.dataset.tag.toLowerCase();
      exact = exact === tag ? null : tag;
      search.value = "";
      update();
    });
  }
  for (const card of cards) {
    card.more.addEventListener("click", () => { card.element.dataset.open = "yes"; update(); });
  }
  update();
})();
