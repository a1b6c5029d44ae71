// Gives each block of code a button of its own; copy.js makes the buttons work.
for (const block of document.querySelectorAll(".markdown pre")) {
  const box = document.createElement("div");
  box.className = "block";
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy code";
  button.dataset.copy = "";
  button.hidden = true;
  block.replaceWith(box);
  box.append(button, block);
}
