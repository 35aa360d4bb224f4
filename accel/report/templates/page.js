(() => {
  "use strict";
  const say = (button, text) => {
    const before = button.dataset.label || (button.dataset.label = button.textContent);
    button.textContent = text;
    setTimeout(() => { button.textContent = before; }, 1600);
  };
  const copyByHand = (text) => {
    const area = document.createElement("textarea");
    area.value = text;
    area.setAttribute("readonly", "");
    area.className = "offscreen";
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  };
  for (const button of document.querySelectorAll("button[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(button.dataset.copy);
        say(button, "Copied");
      } catch {
        say(button, copyByHand(button.dataset.copy) ? "Copied" : "Select it below");
      }
    });
  }
  addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details")) details.open = true;
  });

  if (typeof vegaEmbed !== "function") return;
  const specs = JSON.parse(document.getElementById("specs").textContent);
  const options = {
    mode: "vega-lite",
    actions: false,
    renderer: "svg",
    ast: true,
    defaultStyle: false,
    tooltip: { theme: "accel", disableDefaultStyle: true },
    loader: { load: () => Promise.reject(new Error("nothing is loaded")) },
  };
  const draw = async (still) => {
    still.dataset.live = "asked";
    const place = document.createElement("div");
    try {
      await vegaEmbed(place, specs[still.dataset.spec], options);
      const svg = place.querySelector("svg");
      svg.setAttribute("aria-hidden", "true");
      still.replaceChildren(place);
      still.dataset.live = "yes";
    } catch (error) {
      still.dataset.live = "no";
      console.warn(still.dataset.spec, error);
    }
  };
  const watch = new IntersectionObserver((seen) => {
    for (const entry of seen) {
      if (!entry.isIntersecting) continue;
      watch.unobserve(entry.target);
      draw(entry.target);
    }
  }, { rootMargin: "300px" });
  for (const still of document.querySelectorAll("[data-spec]")) {
    const box = still.getBoundingClientRect();
    if (box.height > 0 && box.top < innerHeight + 300) draw(still);
    else watch.observe(still);
  }
})();
