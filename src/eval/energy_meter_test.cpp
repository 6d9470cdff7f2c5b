#include "eval/energy_meter.h"

#include <gtest/gtest.h>

#include <fstream>

#include "support/temporary_directory.h"

namespace fptq::eval {
namespace {

class EnergyMeterTest : public testing::TemporaryDirectoryTest {};

void write(const std::filesystem::path& file, const std::string& text) {
  std::filesystem::create_directories(file.parent_path());
  std::ofstream(file) << text << '\n';
}

void add_zone(const std::filesystem::path& zone, const std::string& name, const std::string& uj) {
  write(zone / "name", name);
  write(zone / "max_energy_range_uj", "10000000");
  write(zone / "energy_uj", uj);
}

TEST_F(EnergyMeterTest, AddsThePackagesAndNotTheirParts) {
  add_zone(root_ / "intel-rapl:0", "package-0", "1000000");
  add_zone(root_ / "intel-rapl:0:0", "core", "500000");
  add_zone(root_ / "intel-rapl:1", "package-1", "9500000");
  EnergyMeter meter(root_);
  meter.start();
  write(root_ / "intel-rapl:0/energy_uj", "3000000");
  write(root_ / "intel-rapl:0:0/energy_uj", "900000");
  write(root_ / "intel-rapl:1/energy_uj", "500000");  // wrapped around
  ASSERT_TRUE(meter.joules().has_value());
  EXPECT_DOUBLE_EQ(*meter.joules(), 2.0 + 1.0);
}

TEST_F(EnergyMeterTest, HasNoReadingWhereTheMachineHasNoCounter) {
  EnergyMeter none(root_ / "absent");
  none.start();
  EXPECT_FALSE(none.joules().has_value());
}

TEST_F(EnergyMeterTest, HasNoReadingWhereACounterCannotBeRead) {
  add_zone(root_ / "intel-rapl:0", "package-0", "1000000");
  std::filesystem::remove(root_ / "intel-rapl:0/energy_uj");
  EnergyMeter meter(root_);
  meter.start();
  EXPECT_FALSE(meter.joules().has_value());
}

}  // namespace
}  // namespace fptq::eval
