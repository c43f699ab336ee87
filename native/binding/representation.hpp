#pragma once

#include <nanobind/nanobind.h>

void bind_representation(nanobind::module_& m);
