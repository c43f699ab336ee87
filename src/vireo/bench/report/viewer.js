const ORIGINAL = "original";
const GAINS = [1, 2, 4, 8, 16];

/** Two versions of one frame with a divider between them. */
const viewer = {
  root: byId("viewer"),
  stage: byId("stage"),
  canvas: byId("stage").querySelector("canvas"),
  handle: byId("divider"),
  divider: 0.5,
  gain: 0,
  wished: { left: ORIGINAL, right: ORIGINAL },
  scale: 1,
  x: 0,
  y: 0,
  fitted: true,
  held: false,
  space: false,
  cache: new Map(),
  ticket: 0,

  get clip() { return data.pictures[state.detail]; },

  /** The point that stands for a codec at the chosen rate, if its picture is there. */
  pointOf(codec) {
    const level = data.levels[state.detail][state.level];
    const index = level?.points.find((i) => data.points[i].codec === codec);
    return index !== undefined && this.clip?.decoded[index] ? index : undefined;
  },

  /** What is shown on a side: what was wished for, where this clip has it. */
  side(name) {
    const wished = this.wished[name];
    return wished === ORIGINAL || this.pointOf(wished) === undefined ? ORIGINAL : wished;
  },

  uri(side) {
    return side === ORIGINAL ? this.clip.original : this.clip.decoded[this.pointOf(side)];
  },

  start() {
    const codecs = data.codecs.map((_, i) => i);
    this.wished.left = data.anchor;
    const others = codecs.filter((c) => c !== data.anchor && this.pointOf(c) !== undefined);
    this.wished.right = others.find((c) => data.codecs[c].learned) ?? others[0] ?? ORIGINAL;
    for (const side of ["left", "right"]) {
      byId(side).addEventListener("change", (event) => {
        this.wished[side] = event.target.value === ORIGINAL ? ORIGINAL : Number(event.target.value);
        this.update();
      });
    }
    this.listen();
    new ResizeObserver(() => this.resize()).observe(this.stage);
  },

  /** Show the chosen clip and rate. */
  async update() {
    const clip = this.clip;
    const there = clip && [...data.codecs.keys()].some((codec) => this.pointOf(codec) !== undefined);
    this.root.querySelector(".viewer-body").hidden = !there;
    if (!there) {
      const what = data.clips[state.detail].name + (clip ? " at this rate" : "");
      byId("viewer-about").textContent = `There are no pictures of ${what} in this page.`;
      return;
    }
    const { width, height, frames, name } = data.clips[state.detail];
    const cropped = clip.window.width < width || clip.window.height < height;
    byId("viewer-about").textContent =
      `${name}, frame ${clip.frame} (of 0 to ${frames - 1})` +
      (cropped ? `; the middle ${clip.window.width}×${clip.window.height} of ${width}×${height} samples.` : ".");
    const options = data.codecs.map((c, i) => [i, c.label, this.pointOf(i) === undefined]);
    for (const side of ["left", "right"]) {
      fill(byId(side), [[ORIGINAL, "original"], ...options], this.side(side));
      byId(`${side}-caption`).textContent = this.caption(this.side(side));
    }
    choice(byId("error"), [[0, "Picture"], ...GAINS.map((g) => [g, `Error ×${g}`])], this.gain, (gain) => {
      this.gain = gain;
      this.update();
    });
    const ticket = ++this.ticket;
    const [original, left, right] = await Promise.all(
      [ORIGINAL, this.side("left"), this.side("right")].map((side) => this.picture(this.uri(side))),
    );
    if (ticket !== this.ticket) return; // something else was chosen meanwhile
    this.shown = { original: original.canvas, left: this.view(left, original), right: this.view(right, original) };
    this.resize();
    this.root.dataset.ready = String(ticket);
  },

  caption(side) {
    if (side === ORIGINAL) return "as it was encoded from";
    const index = this.pointOf(side);
    const point = data.points[index];
    const target = data.levels[state.detail][state.level].bpp;
    const frame = data.details[index].quality[state.measure][this.clip.frame];
    return `${point.setting} · ${RATES[state.rate].text(point)} (${signed(100 * (point.bpp / target - 1), 0)} %) · ` +
      `${quality(frame, state.measure)} in this frame`;
  },

  /** A data URI's samples, kept for the clip at hand. */
  async picture(uri) {
    if (!this.cache.has(uri)) {
      if (this.cache.size > 24) this.cache.clear();
      this.cache.set(uri, (async () => {
        const image = new Image();
        image.src = uri;
        await image.decode();
        const canvas = document.createElement("canvas");
        [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
        const context = canvas.getContext("2d", { willReadFrequently: true });
        context.drawImage(image, 0, 0);
        return { canvas, samples: context.getImageData(0, 0, canvas.width, canvas.height) };
      })());
    }
    return this.cache.get(uri);
  },

  /** The picture itself, or its amplified difference from the original. */
  view(picture, original) {
    if (!this.gain) return picture.canvas;
    const { width, height } = picture.canvas;
    const error = new ImageData(width, height);
    const a = picture.samples.data, b = original.samples.data, out = error.data;
    for (let i = 0; i < out.length; i += 1) {
      out[i] = i % 4 === 3 ? 255 : this.gain * Math.abs(a[i] - b[i]); // clamped by the array
    }
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [width, height];
    canvas.getContext("2d").putImageData(error, 0, 0);
    return canvas;
  },

  resize() {
    if (!this.shown || !this.clip) return;
    const { width: w, height: h } = this.clip.window;
    const width = this.stage.clientWidth;
    const height = Math.round(Math.min(Math.max(300, (width * h) / w), Math.max(360, innerHeight * 0.74), h * 4));
    const ratio = devicePixelRatio || 1;
    this.canvas.style.height = `${height}px`;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    this.size = { width, height, ratio };
    if (this.fitted) this.fit();
    this.draw();
  },

  fit() {
    const { width: w, height: h } = this.clip.window;
    this.scale = Math.min(this.size.width / w, this.size.height / h);
    this.x = (this.size.width - w * this.scale) / 2;
    this.y = (this.size.height - h * this.scale) / 2;
    this.fitted = true;
  },

  /** Change the scale; the sample under (x, y) stays there. */
  zoom(scale, x = this.size.width / 2, y = this.size.height / 2) {
    const next = Math.min(40, Math.max(0.25, scale));
    this.x = x - ((x - this.x) * next) / this.scale;
    this.y = y - ((y - this.y) * next) / this.scale;
    this.scale = next;
    this.fitted = false;
    this.draw();
  },

  draw() {
    const { width, height, ratio } = this.size;
    const context = this.canvas.getContext("2d");
    const edge = Math.round(this.divider * width * ratio);
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    // From three device pixels per sample on, samples are shown as they are.
    context.imageSmoothingEnabled = this.scale * ratio < 3;
    context.imageSmoothingQuality = "high";
    const [left, top] = [this.x, this.y].map((v) => Math.round(v * ratio) / ratio);
    const paint = (picture, from, to) => {
      context.save();
      context.beginPath();
      context.rect(from, 0, to - from, this.canvas.height);
      context.clip();
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      context.drawImage(picture, left, top, picture.width * this.scale, picture.height * this.scale);
      context.restore();
    };
    paint(this.held ? this.shown.original : this.shown.left, 0, edge);
    paint(this.held ? this.shown.original : this.shown.right, edge, this.canvas.width);
    this.handle.style.left = `${this.divider * 100}%`;
    this.handle.setAttribute("aria-valuenow", String(Math.round(this.divider * 100)));
    byId("zoom-value").textContent = `${number(this.scale * 100, 0)} %`;
  },

  moveDivider(part) {
    this.divider = Math.min(1, Math.max(0, part));
    this.draw();
  },

  hold(held) {
    if (this.held === held || !this.shown) return;
    this.held = held;
    this.draw();
  },

  listen() {
    const place = (event) => {
      const box = this.stage.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    let drag = null;
    this.stage.addEventListener("pointerdown", (event) => {
      drag = event.button !== 0 || this.space ? { pan: true } : { pan: false };
      [drag.x, drag.y] = place(event);
      this.stage.setPointerCapture(event.pointerId);
      event.preventDefault();
      (drag.pan ? this.canvas : this.handle).focus({ preventScroll: true });
      if (!drag.pan) this.moveDivider(drag.x / this.size.width);
    });
    this.stage.addEventListener("pointermove", (event) => {
      if (!drag) return;
      const [x, y] = place(event);
      if (drag.pan) {
        this.x += x - drag.x;
        this.y += y - drag.y;
        this.fitted = false;
        [drag.x, drag.y] = [x, y];
        this.draw();
      } else {
        this.moveDivider(x / this.size.width);
      }
    });
    for (const end of ["pointerup", "pointercancel"]) this.stage.addEventListener(end, () => (drag = null));
    this.stage.addEventListener("contextmenu", (event) => event.preventDefault());
    this.stage.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(this.scale * 2 ** (-event.deltaY / 240), ...place(event));
    }, { passive: false });
    const zooms = {
      in: () => this.zoom(this.scale * 1.5),
      out: () => this.zoom(this.scale / 1.5),
      fit: () => { this.fit(); this.draw(); },
      one: () => this.zoom(1),
    };
    for (const button of this.root.querySelectorAll("[data-zoom]")) {
      button.addEventListener("click", zooms[button.dataset.zoom]);
    }
    this.handle.addEventListener("keydown", (event) => {
      const step = event.shiftKey ? 0.1 : 0.01;
      const part = {
        ArrowLeft: this.divider - step, ArrowDown: this.divider - step,
        ArrowRight: this.divider + step, ArrowUp: this.divider + step,
        PageDown: this.divider - 0.1, PageUp: this.divider + 0.1, Home: 0, End: 1,
      }[event.key];
      if (part === undefined) return;
      event.preventDefault();
      this.moveDivider(part);
    });
    this.stage.addEventListener("keydown", (event) => {
      if (event.key === " ") {
        event.preventDefault();
        this.space = true;
        this.canvas.classList.add("pan");
      } else if (event.key === "+" || event.key === "=") zooms.in();
      else if (event.key === "-") zooms.out();
      else if (event.key === "0") zooms.fit();
      else if (event.key.toLowerCase() === "o") this.hold(true);
      else if (event.key.toLowerCase() === "e") {
        this.gain = [...GAINS, 0][GAINS.indexOf(this.gain) + 1];
        this.update();
      }
    });
    addEventListener("keyup", (event) => {
      if (event.key === " ") {
        this.space = false;
        this.canvas.classList.remove("pan");
      }
      if (event.key.toLowerCase() === "o") this.hold(false);
    });
    const button = byId("hold");
    button.addEventListener("pointerdown", () => this.hold(true));
    for (const end of ["pointerup", "pointerleave", "blur"]) button.addEventListener(end, () => this.hold(false));
  },
};
