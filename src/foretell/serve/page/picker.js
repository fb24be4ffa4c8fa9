// Which model answers.

import { byId, h } from "./dom.js";

const picker = byId("model");
const modalities = new Map();

export const chosenModel = () => picker.value;

export function offerModels(models) {
  for (const model of models) modalities.set(model.id, model.input_modalities || []);
  picker.replaceChildren(...models.map(({ id }) => h("option", { value: id }, id)));
}

/** Whether the chosen model reads images. */
export const readsImages = () => Boolean(modalities.get(picker.value)?.includes("image"));

/** Choose a model, unless it is no longer there. */
export function chooseModel(name) {
  if ([...picker.options].some((option) => option.value === name)) picker.value = name;
}

export const whenChosen = (tell) => picker.addEventListener("change", tell);
