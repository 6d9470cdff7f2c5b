// Models named as on a hub, fetched where a command needs them.

#pragma once

#include "cli/console.h"

namespace fptq::cli {

// From now on MODEL may name a model that has to be fetched first. The console has to live as long
// as the program opens models.
void fetch_named_models(Console& console);

}  // namespace fptq::cli
