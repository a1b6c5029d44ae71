// Unfold opens its menus from elements that only a mouse can reach: let the keyboard reach them too.
const NAMES = [
  ["[x-on\\:click*='sidebarMobileOpen']", "Navigation"],
  ["[x-on\\:click*='sidebarDesktopOpen']", "Navigation"],
  ["[x-on\\:click*='openUserLinks = !']", "Account and look"],
  ["[x-on\\:click*='openTheme = !']", "Look"],
  ["a[x-on\\:click*='adminTheme =']", ""],
  ["a[x-on\\:click*='switchTheme']", ""],
];

function pressed(event) {
  if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    event.currentTarget.click();
  }
}

function reachable(element, name) {
  element.tabIndex = 0;
  element.setAttribute("role", "button");
  if (name) element.setAttribute("aria-label", name);
  element.addEventListener("keydown", pressed);
}

function skipLink() {
  const link = document.createElement("a");
  link.className = "skip";
  link.href = "#content";
  link.textContent = "Skip to the content";
  document.body.prepend(link);
}

document.addEventListener("DOMContentLoaded", () => {
  for (const [selector, name] of NAMES) {
    for (const element of document.querySelectorAll(selector)) reachable(element, name);
  }
  if (document.getElementById("content")) skipLink();
});
