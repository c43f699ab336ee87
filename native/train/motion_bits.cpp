#include "train/motion_bits.hpp"

namespace vireo::train {

int MotionBits::Present::operator()(int f, int depth, int row, int column) const {
  const auto name = static_cast<std::size_t>(f);
  const MotionFields& fields = bits.fields_;
  const int level = fields.coarsest() - depth;
  if (level == at.level && row == at.row && column == at.column) {
    if (choice && name < fields.alpha())
      return name % 2 ? choice->vectors[name / 2].y : choice->vectors[name / 2].x;
    if (choice) return name == fields.alpha() ? choice->alpha : choice->beta;
    if (name == field) return value.x;
    if (vector && name == field + 1) return value.y;
  }
  const int latent = fields.latent(name, {level, row, column});
  const auto& pending = bits.pending;
  const bool mirrored = pending.mirrored && name / 2 == 1;
  if (level != pending.level || (name / 2 != pending.reference && !mirrored)) return latent;
  const auto place = static_cast<std::size_t>(row * fields.grid(name, level).width + column);
  if (place >= pending.steps.size()) return latent;
  const int step = name % 2 ? pending.steps[place].y : pending.steps[place].x;
  return latent + (mirrored ? -step : step);
}

VectorContext MotionBits::vector_context(const Present& latents, std::size_t r,
                                         const Place& at) const {
  return vireo::vector_context(static_cast<int>(r), depth(at.level), at.row, at.column,
                               fields_.grid(2 * r, at.level).width, latents);
}

BlendingContext MotionBits::blending_context(const Present& latents, std::size_t field,
                                             const Place& at) const {
  return vireo::blending_context(static_cast<int>(field),
                                 static_cast<int>(field - fields_.alpha()), depth(at.level),
                                 at.row, at.column, latents);
}

float MotionBits::of_vector(const Present& latents, std::size_t r, const Place& at,
                            Step vector) const {
  return rates_.bits(vector_context(latents, r, at), vector);
}

float MotionBits::own(std::size_t r, const Place& at, Step vector) const {
  return of_vector({*this}, r, at, vector);
}

float MotionBits::rate(std::size_t r, const Place& at, Step vector) const {
  const Present latents{*this, 2 * r, at, vector, true};
  const auto& grid = fields_.grid(2 * r, at.level);
  float bits = of_vector(latents, r, at, vector);
  const auto add = [&](std::size_t reference, int row, int column) {
    if (row >= grid.height || column < 0 || column >= grid.width) return;
    const int f = static_cast<int>(2 * reference), d = depth(at.level);
    bits += of_vector(latents, reference, {at.level, row, column},
                      {latents(f, d, row, column), latents(f + 1, d, row, column)});
  };
  add(r, at.row, at.column + 1);
  add(r, at.row + 1, at.column);
  add(r, at.row + 1, at.column - 1);
  if (r == 0 && fields_.references() == 2) add(1, at.row, at.column);
  return bits;
}

float MotionBits::mirrored(const Place& at, Step vector) const {
  return own(0, at, vector) + of_vector({*this, 0, at, vector, true}, 1, at, -vector);
}

float MotionBits::of_blending(const Present& latents, std::size_t field, const Place& at,
                              int latent) const {
  return rates_.bits(blending_context(latents, field, at), latent);
}

float MotionBits::rate(std::size_t field, const Place& at, int latent) const {
  const Present latents{*this, field, at, {latent, 0}};
  const auto& grid = fields_.grid(field, at.level);
  float bits = of_blending(latents, field, at, latent);
  const auto add = [&](int row, int column) {
    if (row < grid.height && column < grid.width)
      bits += of_blending(latents, field, {at.level, row, column}, grid.row(row)[column]);
  };
  add(at.row, at.column + 1);
  add(at.row + 1, at.column);
  return bits;
}

float MotionBits::own(const Place& at, const Choice& choice) const {
  const Present latents{*this, PendingSteps::kNone, at, {}, false, &choice};
  float bits = of_blending(latents, fields_.alpha(), at, choice.alpha);
  for (std::size_t r = 0; r < fields_.references(); ++r)
    bits += of_vector(latents, r, at, choice.vectors[r]);
  if (fields_.references() == 2)
    bits += of_blending(latents, fields_.beta(), at, choice.beta);
  return bits;
}

template <class Visit>
void MotionBits::for_values(Visit&& visit) const {
  const Present latents{*this};
  for (int k = fields_.first(); k <= fields_.coarsest(); ++k)
    fields_.for_places(k, [&](const Place& at) {
      for (std::size_t r = 0; r < fields_.references(); ++r) {
        const std::size_t field = fields_.alpha() + r;
        visit(vector_context(latents, r, at), fields_.vector(r, at));
        visit(blending_context(latents, field, at), fields_.latent(field, at));
      }
    });
}

double MotionBits::total() const {
  double bits = 0;
  for_values([&](const auto& context, auto value) { bits += rates_.bits(context, value); });
  return bits;
}

void MotionBits::learn() {
  MotionCounter seen;
  MotionSyntax syntax(seen);
  for_values([&](const auto& context, auto value) { syntax.code(context, value); });
  rates_.learn(seen);
}

}  // namespace vireo::train
