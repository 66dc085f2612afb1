// Opens backend libraries that lie beside the addon, on demand.
#pragma once

#include <string>

#include "abi.h"

namespace polar::addon {

// The API of backend `name` ("cpu", "cuda"); opened once and kept. Throws NativeError E_BACKEND_UNAVAILABLE saying what
// was tried and why it failed: file missing, dlopen's own message, or another ABI version.
const PolarBackendApi& load_backend(const std::string& name);

}  // namespace polar::addon
