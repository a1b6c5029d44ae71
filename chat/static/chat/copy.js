// Buttons that copy the code beside them, or what `data-copy` names. Without this script they stay
// hidden.
function select(code) {
  code.hidden = false; // nothing that is hidden can be selected
  const range = document.createRange();
  range.selectNodeContents(code);
  const selection = window.getSelection();
  selection.removeAllRanges();
  selection.addRange(range);
}

async function copy(code) {
  try {
    await navigator.clipboard.writeText(code.textContent);
    return "Copied.";
  } catch {
    select(code); // browsers have no clipboard for pages without HTTPS
    return "Selected. Copy it with your keyboard.";
  }
}

const told = document.querySelector("[data-copied]");
for (const button of document.querySelectorAll("button[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    told.textContent = "";
    const named = button.dataset.copy && document.getElementById(button.dataset.copy);
    told.textContent = await copy(named || button.parentElement.querySelector("code"));
  });
}
