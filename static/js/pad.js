// A drawing pad: pointer, touch and keyboard in; a small picture of numbers 0 to 1 out.
const SIZE = 336; // pixels of the pad
const STEP = 12; // pixels one arrow key moves
const INK = 0.08; // fainter pixels do not count as drawn

// How a data set frames its pictures: the share of the height a drawing fills, or as it stands.
const FRAMES = { digits: 1, mnist: 20 / 28 };

export class Pad {
  constructor(canvas, { height, width, dataset, changed }) {
    Object.assign(this, { canvas, height, width, frame: FRAMES[dataset], changed });
    this.ink = document.createElement("canvas"); // what is drawn, without the keyboard's pen
    this.ink.width = this.ink.height = SIZE;
    this.pen = { x: SIZE / 2, y: SIZE / 2, down: false, shown: false };
    this.brush = this.ink.getContext("2d", { willReadFrequently: true });
    this.brush.lineCap = this.brush.lineJoin = "round";
    this.brush.strokeStyle = this.brush.fillStyle = "#fff";
    this.brush.lineWidth = SIZE / 13;
    this.empty = true;
    this.fixed = null; // a sample that was put here, exactly as it stands in the data
    this.listen();
    this.show();
  }

  listen() {
    const at = (event) => {
      const box = this.canvas.getBoundingClientRect();
      return [((event.clientX - box.left) * SIZE) / box.width, ((event.clientY - box.top) * SIZE) / box.height];
    };
    let last = null;
    this.canvas.addEventListener("pointerdown", (event) => {
      this.canvas.setPointerCapture(event.pointerId);
      this.pen.shown = false;
      last = at(event);
      this.line(last, last);
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (!last) return;
      for (const part of event.getCoalescedEvents?.() ?? [event]) {
        const next = at(part);
        this.line(last, next);
        last = next;
      }
    });
    for (const name of ["pointerup", "pointercancel"]) {
      this.canvas.addEventListener(name, () => (last = null));
    }
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    this.canvas.addEventListener("blur", () => {
      this.pen.shown = this.pen.down = false;
      this.show();
    });
  }

  key(event) {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const move = moves[event.key];
    if (event.key === "Delete" || event.key === "Backspace") this.clear();
    else if (event.key === " ") {
      this.pen.down = !this.pen.down;
      if (this.pen.down) this.line([this.pen.x, this.pen.y], [this.pen.x, this.pen.y]);
    } else if (move) {
      const from = [this.pen.x, this.pen.y];
      this.pen.x = Math.min(SIZE, Math.max(0, this.pen.x + move[0] * STEP));
      this.pen.y = Math.min(SIZE, Math.max(0, this.pen.y + move[1] * STEP));
      if (this.pen.down) this.line(from, [this.pen.x, this.pen.y]);
    } else return;
    event.preventDefault();
    this.pen.shown = true;
    this.show();
  }

  line(from, to) {
    if (this.fixed) this.wipe();
    this.brush.beginPath();
    this.brush.moveTo(...from);
    this.brush.lineTo(to[0] + 0.01, to[1]);
    this.brush.stroke();
    this.empty = false;
    this.show();
    this.changed();
  }

  wipe() {
    this.brush.clearRect(0, 0, SIZE, SIZE);
    this.fixed = null;
    this.empty = true;
  }

  clear() {
    this.wipe();
    this.pen = { x: SIZE / 2, y: SIZE / 2, down: false, shown: false };
    this.show();
    this.changed();
  }

  // Shows a picture of height × width numbers 0 to 1.
  put(pixels) {
    this.wipe();
    this.fixed = pixels;
    this.empty = false;
    const small = picture(pixels, this.height, this.width);
    this.brush.imageSmoothingEnabled = false;
    this.brush.drawImage(small, 0, 0, SIZE, SIZE);
    this.show();
    this.changed();
  }

  show() {
    const view = this.canvas.getContext("2d");
    view.fillStyle = "#000";
    view.fillRect(0, 0, SIZE, SIZE);
    view.drawImage(this.ink, 0, 0);
    if (!this.pen.shown) return;
    view.strokeStyle = this.pen.down ? "#4cc998" : "#7c9cff";
    view.lineWidth = 3;
    view.beginPath();
    view.arc(this.pen.x, this.pen.y, 12, 0, 7);
    view.stroke();
  }

  // height × width numbers 0 to 1, framed as the data set frames its own.
  pixels() {
    if (this.fixed) return this.fixed;
    const small = document.createElement("canvas");
    // Four times the size, then averaged: one step would skip thin lines.
    [small.width, small.height] = [this.width * 4, this.height * 4];
    const pen = small.getContext("2d", { willReadFrequently: true });
    pen.imageSmoothingQuality = "high";
    const box = this.frame ? this.bounds() : null;
    if (box) {
      const scale = Math.min((this.frame * small.height) / box.height, small.width / box.width);
      const [w, h] = [box.width * scale, box.height * scale];
      pen.drawImage(this.ink, box.left, box.top, box.width, box.height, (small.width - w) / 2, (small.height - h) / 2, w, h);
    } else pen.drawImage(this.ink, 0, 0, small.width, small.height);
    const alpha = pen.getImageData(0, 0, small.width, small.height).data;
    const out = [];
    for (let row = 0; row < this.height; row += 1) {
      for (let column = 0; column < this.width; column += 1) {
        let sum = 0;
        for (let y = 0; y < 4; y += 1) {
          for (let x = 0; x < 4; x += 1) sum += alpha[4 * ((row * 4 + y) * small.width + column * 4 + x) + 3];
        }
        out.push(Math.round((sum / 16 / 255) * 1e4) / 1e4);
      }
    }
    return out;
  }

  bounds() {
    const alpha = this.brush.getImageData(0, 0, SIZE, SIZE).data;
    let [left, top, right, bottom] = [SIZE, SIZE, -1, -1];
    for (let y = 0; y < SIZE; y += 2) {
      for (let x = 0; x < SIZE; x += 2) {
        if (alpha[4 * (y * SIZE + x) + 3] < INK * 255) continue;
        left = Math.min(left, x);
        right = Math.max(right, x);
        top = Math.min(top, y);
        bottom = Math.max(bottom, y);
      }
    }
    return right < 0 ? null : { left, top, width: right - left + 2, height: bottom - top + 2 };
  }
}

// Numbers 0 to 1 as a small opaque picture: white on nothing.
export function picture(pixels, height, width) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const pen = canvas.getContext("2d");
  const image = pen.createImageData(width, height);
  pixels.forEach((value, at) => {
    image.data.set([255, 255, 255, Math.round(255 * Math.min(1, Math.max(0, value)))], 4 * at);
  });
  pen.putImageData(image, 0, 0);
  return canvas;
}
