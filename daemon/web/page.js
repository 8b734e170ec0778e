// Measures without leaving the page. Without this script the form does the same on a page of its own.
"use strict";

const form = document.getElementById("measure");
const button = form.querySelector("button");

function show(...nodes) {
  document.getElementById("result").replaceChildren(...nodes);
}

function paragraph(text, kind) {
  const element = document.createElement("p");
  element.className = kind;
  element.textContent = text;
  return element;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  button.disabled = true;
  show(paragraph("Measuring…", "hint"));
  try {
    const query = new URLSearchParams(new FormData(form));
    const response = await fetch(`${form.action}?${query}`);
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    show(...page.getElementById("result").childNodes);
  } catch (error) {
    show(paragraph(`The node does not answer: ${error.message}`, "problem"));
  } finally {
    button.disabled = false;
  }
});
