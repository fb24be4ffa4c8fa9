// Which model answers.

import { byId, h } from "./dom.js";

const picker = byId("model");

export const chosenModel = () => picker.value;

export const offerModels = (models) => picker.replaceChildren(...models.map(({ id }) => h("option", { value: id }, id)));

/** Choose a model, unless it is no longer there. */
export function chooseModel(name) {
  if ([...picker.options].some((option) => option.value === name)) picker.value = name;
}

export const whenChosen = (tell) => picker.addEventListener("change", tell);
