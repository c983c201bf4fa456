// Starts the page.

const response = await fetch("version");
/** @type {{version: string}} */
const { version } = await response.json();
const main = document.querySelector("main");
if (main) main.textContent = `Onceread ${version}`;
