#include <cmath>

#include "reference.h"

namespace polar {

double activate(int32_t activation, double z) {
  switch (activation) {
    case POLAR_RELU:
      return z < 0 ? 0 : z;  // NaN stays NaN
    case POLAR_GELU:
      return 0.5 * z * (1 + std::erf(z / std::sqrt(2.0)));
    case POLAR_GELU_TANH:
      return 0.5 * z * (1 + std::tanh(std::sqrt(2.0 / 3.14159265358979323846) * (z + 0.044715 * z * z * z)));
    case POLAR_IDENTITY:
      return z;
    default:
      return z / (1 + std::exp(-z));
  }
}

}  // namespace polar
