// Arrow keys, page keys and the space bar turn the slides; the address remembers the place.
const slides = [...document.querySelectorAll("section")];
const place = () => slides.findIndex((slide) => slide.getBoundingClientRect().bottom > innerHeight / 2);
const show = (i) => slides[Math.max(0, Math.min(i, slides.length - 1))].scrollIntoView();
const steps = { ArrowRight: 1, ArrowDown: 1, PageDown: 1, " ": 1, ArrowLeft: -1, ArrowUp: -1, PageUp: -1 };

addEventListener("keydown", (event) => {
  if (event.target.closest("summary, a") && [" ", "Enter"].includes(event.key)) return; // they open what has the focus
  if (event.key in steps) show(place() + steps[event.key]);
  else if (event.key === "Home") show(0);
  else if (event.key === "End") show(slides.length - 1);
  else return;
  event.preventDefault();
});
addEventListener("scrollend", () => history.replaceState(null, "", `#${place() + 1}`));
if (location.hash) show(Number(location.hash.slice(1)) - 1);
