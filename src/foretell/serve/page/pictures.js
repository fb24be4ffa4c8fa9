// Image files as they are sent: small enough, and of a kind that every server reads.

const TYPES = ["image/png", "image/jpeg", "image/webp", "image/gif"];
const LONGEST = 2048; // pixels
const LARGEST = 3 * 2 ** 20; // bytes
const QUALITY = 0.9;

/** A file as a data URL; larger ones are made smaller, which keeps what is transparent only where it is not large. */
export async function pictureOf(file) {
  const picture = await createImageBitmap(file).catch(() => {
    throw new Error(`${file.name || "This"} is no image that this browser can read.`);
  });
  const { width, height } = picture;
  const fits = Math.max(width, height) <= LONGEST;
  if (fits && file.size <= LARGEST && TYPES.includes(file.type)) return asUrl(file);
  const ratio = fits ? 1 : LONGEST / Math.max(width, height);
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  if (file.type !== "image/jpeg") {
    const exact = await asBlob(canvas, "image/png");
    if (exact.size <= LARGEST) return asUrl(exact);
  }
  context.globalCompositeOperation = "destination-over"; // the paper under it
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  return asUrl(await asBlob(canvas, "image/jpeg"));
}

const asBlob = (canvas, type) => new Promise((resolve, reject) => {
  canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("The image is too large for this browser."))), type, QUALITY);
});

const asUrl = (blob) => new Promise((resolve, reject) => {
  const reader = new FileReader();
  reader.addEventListener("load", () => resolve(reader.result));
  reader.addEventListener("error", () => reject(new Error("The file cannot be read.")));
  reader.readAsDataURL(blob);
});
