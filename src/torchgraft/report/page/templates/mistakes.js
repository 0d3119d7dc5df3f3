{
/** A switch between the images and what of them is in the light. */
function showLight() {
  for (const button of $$("[data-light]")) {
    const lit = button.closest("section").classList.contains("lit");
    button.hidden = false;
    button.textContent = lit ? "Show the images" : "Show what decided";
  }
}
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-light]");
  if (!button) return;
  button.closest("section").classList.toggle("lit");
  showLight();
});
showLight();
document.addEventListener("torchgraft:updated", showLight);
}
