"use strict";
// Copy buttons. Pages opened from a disk may have no clipboard: then the text is selected for Ctrl+C.
(function () {
  var status = document.getElementById("copied");

  function select(element) {
    var range = document.createRange();
    range.selectNodeContents(element);
    var selection = window.getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
  }

  function fallback(element) {
    select(element);
    var copied = false;
    try { copied = document.execCommand("copy"); } catch (error) { copied = false; }
    status.textContent = copied ? "Copied." : "The text is selected: copy it with Ctrl+C or the menu.";
  }

  function copy(element) {
    if (!navigator.clipboard || !navigator.clipboard.writeText) { fallback(element); return; }
    navigator.clipboard.writeText(element.textContent).then(
      function () { status.textContent = "Copied."; },
      function () { fallback(element); }
    );
  }

  document.querySelectorAll("button[data-copy]").forEach(function (button) {
    button.hidden = false;
    button.addEventListener("click", function () { copy(document.getElementById(button.dataset.copy)); });
  });

  // What is folded away on the screen is printed.
  window.addEventListener("beforeprint", function () {
    document.querySelectorAll("details").forEach(function (details) { details.open = true; });
  });
})();
